import AdapterStore
import Foundation

/// One run of `storehammer`, built beside the tests.
final class Child {
    private let process = Process()
    private let output = Pipe()
    private let input = Pipe()
    private var unread: [UInt8] = []

    static let program: String = {
        let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        return (tests as NSString).deletingLastPathComponent + "/storehammer"
    }()

    init(_ arguments: String...) throws {
        process.executableURL = URL(filePath: Child.program)
        process.arguments = arguments
        process.standardOutput = output
        process.standardInput = input
        try process.run()
    }

    var processIdentifier: Int { Int(process.processIdentifier) }

    /// The next line of output, nil at its end.
    func line() -> String? {
        while true {
            if let end = unread.firstIndex(of: 10) {
                defer { unread.removeFirst(end + 1) }
                return String(decoding: unread[..<end], as: UTF8.self)
            }
            let more = output.fileHandleForReading.availableData
            if more.isEmpty { return nil }
            unread += Array(more)
        }
    }

    func kill() { Foundation.kill(process.processIdentifier, SIGKILL) }

    func closeInput() { try? input.fileHandleForWriting.close() }

    /// The exit status, or minus the signal that ended it.
    @discardableResult func wait() -> Int32 {
        process.waitUntilExit()
        return process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
    }
}
