import Foundation
import ProgramRunner
import Synchronization
import Testing

/// The real `adapterd` on a store of its own, made from the shipped files.
final class Server: Sendable {
    let folder: String
    let socket: String
    private let process: RunningProgram

    struct NotStarted: Error { let log: String }

    init(
        _ adapters: [String] = ["flowers", "birds"], arguments: [String] = [], environment: [String: String] = [:], folder: String? = nil,
        openFiles: Int? = nil, launcher: [String] = []
    ) throws {
        if let folder {
            self.folder = folder
        } else {
            self.folder = try Self.makeFolder(adapters)
        }
        socket = self.folder + "/run/d.sock"
        // What a slow machine could reach is far away, unless a test asks for it nearer: flags of the test stand in their place.
        let patient = ["--patience-seconds", "3600", "--ready-seconds", "600", "--drain-seconds", "3600"]
        let arguments = Self.merged(patient, ["--store", self.folder + "/store", "--socket", socket] + arguments)
        let limited = openFiles.map { ["/bin/sh", "-c", "ulimit -n \($0); exec \"$0\" \"$@\""] } ?? launcher
        let words = limited + [Self.program("adapterd")] + arguments
        process = try RunningProgram(
            words[0], Array(words.dropFirst()), environment: ["PATH": "/usr/bin:/bin", "HOME": self.folder].merging(environment) { $1 },
            errors: .followed)
        guard process.waitForErrors("info listening") else {
            process.wait()
            throw NotStarted(log: process.errors)
        }
    }

    /// The defaults whose flags are not given, and the given.
    private static func merged(_ defaults: [String], _ given: [String]) -> [String] {
        stride(from: 0, to: defaults.count, by: 2).filter { !given.contains(defaults[$0]) }.flatMap { defaults[$0...($0 + 1)] } + given
    }

    var log: String { process.errors }
    var identifier: Int32 { process.identifier }

    /// Waits for the words or the server's end.
    func waitForLog(_ words: String) -> Bool { process.waitForErrors(words) }

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
        process.signal(signal)
        return wait()
    }

    @discardableResult
    func wait() -> Int32 { process.wait() }

    func signal(_ signal: Int32) { process.signal(signal) }

    // MARK: Talking to it

    func connect() throws -> RawConnection { try RawConnection(socket: socket) }

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

    /// Asks for the engine's state until it is as wanted: what a request set off is seen there, sooner or later.
    func wait(until isWanted: ([String: Any]) -> Bool) throws {
        for _ in 0..<1_000_000 { if isWanted(try get("/readyz").json) { return } }
        Issue.record("the engine never came to the wanted state")
    }

    /// Runs `adapterctl` on the server's store, in another process as a user does.
    @discardableResult
    func adapterctl(_ arguments: String...) throws -> Int32 { try adapterctl(arguments) }

    func adapterctl(_ arguments: [String]) throws -> Int32 { try Self.adapterctl(folder, arguments).code }

    /// The same, with what it printed.
    func answer(_ arguments: String...) throws -> (code: Int32, text: String) { try answer(arguments) }

    func answer(_ arguments: [String]) throws -> (code: Int32, text: String) {
        let ended = try Self.adapterctl(folder, arguments)
        return (ended.code, ended.output)
    }

    // MARK: Making it

    static let shipped = checkout + "/adapters"

    static func shipped(_ name: String) -> String { "\(shipped)/\(name).safetensors" }

    static func program(_ name: String) -> String { builtProgram(name) }

    /// Stores already made, by their adapters: later servers get copies.
    private static let made = Mutex<[[String]: String]>([:])

    static func makeFolder(_ adapters: [String]) throws -> String {
        let folder = try temporaryFolder("d")
        let store = try made.withLock { made in
            if let store = made[adapters] { return store }
            let template = try temporaryFolder("template")
            for arguments in [["init"], ["base", "import", shipped("base")]] + adapters.map({ ["add", $0, shipped($0)] }) {
                let ended = try adapterctl(template, arguments)
                guard ended.code == 0 else { throw NotStarted(log: "adapterctl \(arguments) failed: \(ended.errors)") }
            }
            made[adapters] = template + "/store"
            return template + "/store"
        }
        try FileManager.default.copyItem(atPath: store, toPath: folder + "/store")
        return folder
    }

    static func adapterctl(_ folder: String, _ arguments: [String]) throws -> Ended {
        try run(
            program("adapterctl"), arguments, environment: ["PATH": "/usr/bin:/bin", "HOME": folder, "DIFFFIT_STORE": folder + "/store"])
    }
}
