import Foundation
import Testing

/// How a server begins and ends.
@Suite(.serialized) struct LifeTests {
    private let rose = #"{"model":"flowers","class":"rose","seed":5,"steps":3}"#

    @Test func killedWithNineAndStartedAgainUnderLoad() throws {
        let first = try Server(["flowers"])
        defer { first.end() }
        let solo = try first.generate(rose).hashes
        let clients = try (0..<4).map { _ in try first.connect() }
        for client in clients {
            client.send(Server.message("POST", "/v1/images/generations", #"{"model":"flowers","class":"rose","n":16,"steps":200}"#))
        }
        #expect(first.kill(SIGKILL) == -SIGKILL)
        #expect(FileManager.default.fileExists(atPath: first.socket))
        for _ in 0..<3 {
            let next = try Server(folder: first.folder)
            #expect(try next.generate(rose).hashes == solo)
            next.kill(SIGKILL)
        }
        #expect(try first.adapterctl("verify") == 0)
    }

    @Test func aSecondServerOnTheSocketIsRefused() throws {
        let first = try Server(["flowers"])
        defer { first.end() }
        let error = #expect(throws: Server.NotStarted.self) { try Server(folder: first.folder) }
        #expect(error?.log.contains("Another server is listening") == true && error?.log.contains("process \(first.identifier)") == true)
        #expect(try first.generate(rose).status == 200)
    }

    @Test func onTermWhatRunsIsFinished() throws {
        let server = try Server(["flowers"])
        defer { server.end() }
        let connection = try server.connect()
        connection.send(
            Server.message("POST", "/v1/images/generations", #"{"model":"flowers","class":"rose","n":4,"steps":60,"stream":true}"#))
        _ = try connection.head()
        server.signal(SIGTERM)
        #expect(server.waitForLog("draining"))
        var text = ""
        while let chunk = try connection.chunk() { text += String(decoding: chunk, as: UTF8.self) }
        #expect(SentEvent.all(in: text).last?.name == "image_generation.summary")
        #expect(server.wait() == 0)
        #expect(!FileManager.default.fileExists(atPath: server.socket) && server.waitForLog("drained"))
    }

    @Test func onTermTheTimeIsBounded() throws {
        let server = try Server(["flowers"], arguments: ["--drain-seconds", "1"])
        defer { server.end() }
        let connection = try server.connect()
        connection.send(
            Server.message("POST", "/v1/images/generations", #"{"model":"flowers","class":"rose","n":16,"steps":1000,"stream":true}"#))
        _ = try connection.head()
        #expect(server.kill(SIGTERM) == 0)
        #expect(!FileManager.default.fileExists(atPath: server.socket))
    }

    @Test func aStoreWithoutBaseAndNoStoreAreSaid() throws {
        let empty = NSTemporaryDirectory() + "adapterd-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: empty) }
        let error = #expect(throws: Server.NotStarted.self) { try Server(folder: empty) }
        #expect(error?.log.contains("There is no adapter store") == true)
    }

    @Test func everyFlagHasATwinAndPrintConfigSaysWhoWon() throws {
        func run(_ arguments: [String], _ environment: [String: String]) throws -> (Int32, String) {
            let process = Process()
            let pipe = Pipe()
            process.executableURL = Server.program("adapterd")
            process.arguments = arguments
            process.environment = ["PATH": "/usr/bin:/bin", "HOME": "/nowhere"].merging(environment) { $1 }
            process.standardOutput = pipe
            process.standardError = pipe
            try process.run()
            let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            process.waitUntilExit()
            return (process.terminationStatus, text)
        }
        let (code, text) = try run(
            ["--print-config", "--rows", "8"], ["DIFFFIT_ROWS": "4", "DIFFFIT_QUEUE": "7", "XDG_RUNTIME_DIR": "/run/user/1"])
        #expect(code == 0)
        let lines = text.split(separator: "\n").map { $0.split(separator: " ", omittingEmptySubsequences: true).map(String.init) }
        func line(_ flag: String) -> [String]? { lines.first { $0.first == flag } }
        #expect(line("rows") == ["rows", "8", "(flag)"] && line("queue") == ["queue", "7", "(DIFFFIT_QUEUE)"])
        #expect(line("socket") == ["socket", "/run/user/1/difffit/adapterd.sock", "(default)"])
        // Every flag of the help is there.
        let help = try run(["--help"], [:]).1
        let flags = Set(help.matches(of: /--([a-z-]+) </).map { String($0.1) })
        #expect(flags == Set(lines.compactMap(\.first)) && flags.count > 15)
        #expect(try run(["--print-config"], ["DIFFFIT_QUEEU": "7"]).0 == 2)
        #expect(try run(["--print-config"], ["DIFFFIT_QUEUE": "many"]).0 == 2)
        #expect(try run(["--print-config", "--port", "8080"], [:]).0 == 2)
        #expect(try run(["--prot", "1"], [:]).0 == 2)
    }
}
