import Foundation

/// How a program ended.
public struct Ended: Sendable {
    /// The exit status, or minus the signal.
    public let code: Int32
    public let output: String
    public let errors: String
}

/// Runs a program to its end; its input is empty.
public func run(
    _ program: String, _ arguments: [String] = [], environment: [String: String] = ProcessInfo.processInfo.environment
) throws -> Ended {
    let running = try RunningProgram(program, arguments, environment: environment, output: .file, errors: .file)
    let code = running.wait()
    return Ended(code: code, output: running.output, errors: running.errors)
}

/// A program of this package, built beside the tests.
public func builtProgram(_ name: String) -> String {
    let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    let folders = [own, CommandLine.arguments[0]].map { ($0 as NSString).deletingLastPathComponent }
    return folders.map { $0 + "/" + name }.first { FileManager.default.isExecutableFile(atPath: $0) } ?? name
}

/// The checkout that the tests were built from.
public let checkout = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
