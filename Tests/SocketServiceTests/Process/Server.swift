import Foundation
import Synchronization

/// The real `adapterd` on a store of its own, made from the shipped files.
final class Server: Sendable {
    let folder: String
    let socket: String
    private let process: Process
    private let output: Output

    /// What a program printed to standard error so far.
    private final class Output: Sendable {
        private let state = Mutex((text: "", hasEnded: false))
        private let arrived = DispatchSemaphore(value: 0)

        func add(_ data: Data) {
            state.withLock { state in
                state.text += String(decoding: data, as: UTF8.self)
                state.hasEnded = data.isEmpty
            }
            arrived.signal()
        }

        var text: String { state.withLock { $0.text } }

        /// Waits for the words, the program's end, or a minute.
        func wait(for words: String) -> Bool {
            while true {
                let (text, hasEnded) = state.withLock { $0 }
                if text.contains(words) { return true }
                if hasEnded || arrived.wait(timeout: .now() + 60) == .timedOut { return false }
            }
        }
    }

    struct NotStarted: Error { let log: String }

    init(
        _ adapters: [String] = ["flowers", "birds"], arguments: [String] = [], environment: [String: String] = [:], folder: String? = nil,
        openFiles: Int? = nil
    ) throws {
        if let folder {
            self.folder = folder
        } else {
            self.folder = try Self.makeFolder(adapters)
        }
        socket = self.folder + "/run/d.sock"
        process = Process()
        let arguments = ["--store", self.folder + "/store", "--socket", socket] + arguments
        if let openFiles {
            process.executableURL = URL(filePath: "/bin/sh")
            process.arguments = ["-c", "ulimit -n \(openFiles); exec \"$0\" \"$@\"", Self.program("adapterd").path] + arguments
        } else {
            process.executableURL = Self.program("adapterd")
            process.arguments = arguments
        }
        process.environment = ["PATH": "/usr/bin:/bin", "HOME": self.folder].merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        let pipe = Pipe()
        let output = Output()
        pipe.fileHandleForReading.readabilityHandler = { handle in
            let data = handle.availableData
            if data.isEmpty { handle.readabilityHandler = nil }
            output.add(data)
        }
        process.standardError = pipe
        self.output = output
        try process.run()
        guard output.wait(for: "info listening") else { throw NotStarted(log: output.text) }
    }

    var log: String { output.text }
    var identifier: Int32 { process.processIdentifier }
    func waitForLog(_ words: String) -> Bool { output.wait(for: words) }

    /// The port of 127.0.0.1, from the log.
    var port: Int? {
        guard waitForLog("127.0.0.1:"), let match = log.firstMatch(of: /127\.0\.0\.1:([0-9]+)/) else { return nil }
        return Int(match.1)
    }

    private static let standing = Mutex<Server?>(nil)

    /// One server for all tests that neither change its store nor count what it did.
    static func shared() throws -> Server {
        try standing.withLock { standing in
            if let standing { return standing }
            let server = try Server()
            standing = server
            atexit { Server.standing.withLock { $0 }?.end() }
            return server
        }
    }

    /// Ends the server and removes its folder.
    func end() {
        kill(SIGKILL)
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// - Returns: the exit status, or minus the signal.
    @discardableResult
    func kill(_ signal: Int32) -> Int32 {
        if process.isRunning { Glibc.kill(process.processIdentifier, signal) }
        return wait()
    }

    @discardableResult
    func wait() -> Int32 {
        process.waitUntilExit()
        return process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
    }

    func signal(_ signal: Int32) { Glibc.kill(process.processIdentifier, signal) }

    // MARK: Talking to it

    func connect(patience: Int = 60) throws -> RawConnection { try RawConnection(socket: socket, patience: patience) }

    func get(_ path: String) throws -> Reply { try call("GET", path) }
    func delete(_ path: String) throws -> Reply { try call("DELETE", path) }

    func post(_ path: String, _ body: String) throws -> Reply { try call("POST", path, body) }

    func generate(_ body: String) throws -> Reply { try post("/v1/images/generations", body) }

    func call(_ method: String, _ path: String, _ body: String? = nil) throws -> Reply {
        let connection = try connect()
        connection.send(Self.message(method, path, body))
        return try connection.response()
    }

    static func message(_ method: String, _ path: String, _ body: String? = nil, headers: [String] = []) -> String {
        let lines = ["\(method) \(path) HTTP/1.1", "Host: localhost"] + headers + (body.map { ["Content-Length: \($0.utf8.count)"] } ?? [])
        return lines.joined(separator: "\r\n") + "\r\n\r\n" + (body ?? "")
    }

    /// Runs `adapterctl` on the server's store, in another process as a user does.
    @discardableResult
    func adapterctl(_ arguments: String...) throws -> Int32 { try adapterctl(arguments) }

    func adapterctl(_ arguments: [String]) throws -> Int32 { try Self.adapterctl(folder, arguments) }

    /// The same, with what it printed.
    func answer(_ arguments: String...) throws -> (code: Int32, text: String) { try answer(arguments) }

    func answer(_ arguments: [String]) throws -> (code: Int32, text: String) {
        let pipe = Pipe()
        let code = try Self.adapterctl(folder, arguments, output: pipe)
        return (code, String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self))
    }

    // MARK: Making it

    static let shipped = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "adapters").path

    static func shipped(_ name: String) -> String { "\(shipped)/\(name).safetensors" }

    static func program(_ name: String) -> URL {
        let beside = Bundle.main.bundleURL.appending(path: name)
        if FileManager.default.isExecutableFile(atPath: beside.path) { return beside }
        return URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent().appending(path: name)
    }

    /// Stores already made, by their adapters: later servers get copies.
    private static let made = Mutex<[[String]: String]>([:])

    static func makeFolder(_ adapters: [String]) throws -> String {
        let folder = NSTemporaryDirectory() + "adapterd-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let store = try made.withLock { made in
            if let store = made[adapters] { return store }
            if made.isEmpty { atexit { Server.removeTemplates() } }
            let template =
                NSTemporaryDirectory() + "adapterd-template-\(adapters.joined(separator: "-"))-\(ProcessInfo.processInfo.processIdentifier)"
            for arguments in [["init"], ["base", "import", shipped("base")]] + adapters.map({ ["add", $0, shipped($0)] }) {
                guard try adapterctl(template, arguments) == 0 else { throw NotStarted(log: "adapterctl \(arguments) failed") }
            }
            made[adapters] = template + "/store"
            return template + "/store"
        }
        try FileManager.default.copyItem(atPath: store, toPath: folder + "/store")
        return folder
    }

    private static func removeTemplates() {
        for store in made.withLock({ $0.values }) { try? FileManager.default.removeItem(at: URL(filePath: store).deletingLastPathComponent()) }
    }

    /// - Parameter output: for less than a pipe holds.
    private static func adapterctl(_ folder: String, _ arguments: [String], output: Pipe? = nil) throws -> Int32 {
        let process = Process()
        process.executableURL = program("adapterctl")
        process.arguments = arguments
        process.environment = ["PATH": "/usr/bin:/bin", "HOME": folder, "DIFFFIT_STORE": folder + "/store"]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output ?? FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        return process.terminationStatus
    }
}
