import Foundation
import ProgramRunner
import Testing

/// How a server begins and ends.
@Suite(.serialized, .heavy) struct LifeTests {
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
        #expect(error?.log.contains("Another server is listening") == true)
        #expect(error?.log.contains("process \(first.identifier)") == true)
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
        #expect(!FileManager.default.fileExists(atPath: server.socket))
        #expect(server.waitForLog("drained"))
    }

    /// A variable of the shell that is not set leaves nothing where a path, a name or a port should be.
    @Test func nothingIsNoPathNameOrPort() throws {
        let folder = try temporaryFolder("nothing")
        let environment = ["PATH": "/usr/bin:/bin", "HOME": folder]
        for flag in ["--socket", "--store", "--token-file", "--base", "--vae", "--port", "--replica", "--allowed-hosts", "--log-level"] {
            for words in [[flag, ""], [flag + "="]] {
                let ended = try ProgramRunner.run(Server.program("adapterd"), ["--print-config"] + words, environment: environment)
                #expect(ended.code == 2, "\(words): \(ended)")
                #expect(ended.errors.contains("\(flag) is empty"), "\(words): \(ended)")
            }
            let variable = "DIFFFIT_" + flag.dropFirst(2).uppercased().replacing("-", with: "_")
            let ended = try ProgramRunner.run(Server.program("adapterd"), ["--print-config"], environment: environment.merging([variable: ""]) { $1 })
            #expect(ended.code == 2, "\(ended)")
            #expect(ended.errors.contains("\(variable) is set to nothing"), "\(ended)")
        }
        for words in [
            ["status", "--socket", ""], ["sample", "flowers", "--socket", "", "-o", "x.png"], ["list", "--store", ""], ["list", "--store="],
            ["add", "flowers", ""], ["add", "", "x"], ["sample", "flowers", "-o", ""], ["base", "import", ""],
        ] {
            let ended = try ProgramRunner.run(Server.program("adapterctl"), words, environment: environment)
            #expect(ended.code == 2, "\(words): \(ended)")
            #expect(ended.errors.contains("is empty"), "\(words): \(ended)")
        }
        let store = try ProgramRunner.run(Server.program("adapterctl"), ["init"], environment: environment.merging(["DIFFFIT_STORE": ""]) { $1 })
        #expect(store.code == 2)
        #expect(store.errors.contains("DIFFFIT_STORE is set to nothing"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
        // An address is no path, and nothing of the network library's own words is shown.
        for (socket, code, words) in [
            ("localhost:8080", 2, "is an address"), ("http://127.0.0.1:8080", 2, "is an address"), (folder + "/none.sock", 14, "No such file or directory"),
            (folder + "/" + String(repeating: "x", count: 200), 2, "longer than"), (Server.shipped("base"), 14, "is a file and no socket"),
        ] {
            let ended = try ProgramRunner.run(Server.program("adapterctl"), ["status", "--socket", socket], environment: environment)
            #expect(ended.code == code, "\(ended)")
            #expect(ended.errors.contains(words), "\(ended)")
            #expect(!ended.errors.contains("descriptor"), "\(ended)")
        }
        for address in ["127.0.0.1:8080", "tcp://127.0.0.1:8080"] {
            let ended = try ProgramRunner.run(Server.program("adapterd"), ["--print-config", "--socket", address], environment: environment)
            #expect(ended.code == 2, "\(ended)")
            #expect(ended.errors.contains("the path of a Unix socket"), "\(ended)")
        }
    }

    @Test func aHangupDrainsUnlessItIsIgnored() throws {
        let server = try Server(["flowers"])
        defer { server.end() }
        #expect(server.kill(SIGHUP) == 0)
        #expect(!FileManager.default.fileExists(atPath: server.socket))
        #expect(server.waitForLog("drained"))
        let kept = try Server(folder: server.folder, launcher: ["nohup"])
        kept.signal(SIGHUP)
        #expect(try kept.generate(rose).status == 200)
        #expect(kept.kill(SIGTERM) == 0)
    }

    @Test func whatTheDrainsEndFindsIsToldSo() throws {
        let server = try Server(["flowers"], arguments: ["--drain-seconds", "1", "--rows", "2"])
        defer { server.end() }
        let long = #"{"model":"flowers","class":"rose","n":16,"steps":1000"#
        let (running, streamed, waiting) = (try server.connect(), try server.connect(), try server.connect())
        streamed.send(Server.message("POST", "/v1/images/generations", long + #","stream":true}"#))
        _ = try streamed.head()
        running.send(Server.message("POST", "/v1/images/generations", long + "}"))
        waiting.send(Server.message("POST", "/v1/images/generations", long + "}"))
        try server.wait { $0["queued_images"] as? Int ?? 0 >= 40 }
        #expect(server.kill(SIGTERM) == 0)
        for connection in [running, waiting] {
            let reply = try connection.response()
            #expect(reply.status == 503, "\(reply.text)")
            #expect(reply.code == "stopped", "\(reply.text)")
            #expect(reply.headers["retry-after"] != nil, "\(reply.text)")
        }
        var text = ""
        while let chunk = try streamed.chunk() { text += String(decoding: chunk, as: UTF8.self) }
        let last = SentEvent.all(in: text).last
        #expect(last?.name == "error")
        #expect((last?.data["error"] as? [String: Any])?["code"] as? String == "stopped")
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
        let empty = try temporaryFolder("empty")
        defer { try? FileManager.default.removeItem(atPath: empty) }
        let error = #expect(throws: Server.NotStarted.self) { try Server(folder: empty) }
        #expect(error?.log.contains("There is no adapter store") == true)
    }

    @Test func everyFlagHasATwinAndPrintConfigSaysWhoWon() throws {
        func run(_ arguments: [String], _ environment: [String: String]) throws -> (Int32, String) {
            let ended = try ProgramRunner.run(
                Server.program("adapterd"), arguments, environment: ["PATH": "/usr/bin:/bin", "HOME": "/nowhere"].merging(environment) { $1 })
            return (ended.code, ended.output + ended.errors)
        }
        let (code, text) = try run(
            ["--print-config", "--rows", "8"], ["DIFFFIT_ROWS": "4", "DIFFFIT_QUEUE": "7", "XDG_RUNTIME_DIR": "/run/user/1"])
        #expect(code == 0)
        let lines = text.split(separator: "\n").map { $0.split(separator: " ", omittingEmptySubsequences: true).map(String.init) }
        func line(_ flag: String) -> [String]? { lines.first { $0.first == flag } }
        #expect(line("rows") == ["rows", "8", "(flag)"])
        #expect(line("queue") == ["queue", "7", "(DIFFFIT_QUEUE)"])
        #expect(line("socket") == ["socket", "/run/user/1/difffit/adapterd.sock", "(default)"])
        // Every flag of the help is there.
        let help = try run(["--help"], [:]).1
        let flags = Set(help.matches(of: /--([a-z-]+) </).map { String($0.1) })
        #expect(flags == Set(lines.compactMap(\.first)))
        #expect(flags.count > 15)
        let misspelt = try run(["--print-config"], ["DIFFFIT_QUEEU": "7", "DIFFFIT_ZZZZZZ": "1"])
        #expect(misspelt.0 == 0)
        #expect(misspelt.1.contains("there is no setting DIFFFIT_QUEEU; did you mean DIFFFIT_QUEUE?"))
        #expect(misspelt.1.contains("there is no setting DIFFFIT_ZZZZZZ\n"))
        #expect(try run(["--print-config"], ["DIFFFIT_QUEUE": "many"]).0 == 2)
        #expect(try run(["--print-config", "--port", "8080"], [:]).0 == 2)
        #expect(try run(["--prot", "1"], [:]).0 == 2)
        for port in ["http", "99999", "-1", "0.0.0.0:80"] {
            let refused = try run(["--print-config", "--port=\(port)"], [:])
            #expect(refused.0 == 2, "\(refused)")
            #expect(refused.1.contains("--port"), "\(refused)")
        }
        #expect(try run(["--print-config", "--port"], [:]).1.contains("Missing value for '--port"))
        // Each setting has its name for the other program too, which warns of none of them.
        let variables = Dictionary(uniqueKeysWithValues: lines.compactMap(\.first).map { ("DIFFFIT_" + $0.uppercased().replacing("-", with: "_"), "1") })
        let other = try ProgramRunner.run(Server.program("adapterctl"), ["--version"], environment: variables)
        #expect(other.code == 0, "\(other.errors)")
        #expect(other.errors.isEmpty, "\(other.errors)")
        let warned = try ProgramRunner.run(Server.program("adapterctl"), ["--version"], environment: ["DIFFFIT_STROE": "x"])
        #expect(warned.code == 0)
        #expect(warned.errors.contains("did you mean DIFFFIT_STORE?"))
    }
}
