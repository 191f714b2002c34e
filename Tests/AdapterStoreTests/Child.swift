import AdapterStore
import ProgramRunner

/// One run of `storehammer`, built beside the tests.
final class Child {
    private let process: RunningProgram

    /// - Parameter through: the words of another program that starts it.
    init(through launcher: [String] = [], _ arguments: String...) throws {
        let words = launcher + [builtProgram("storehammer")] + arguments
        process = try RunningProgram(words[0], Array(words.dropFirst()), output: .followed, hasInput: true)
    }

    var processIdentifier: Int { Int(process.identifier) }

    /// The next line of output, nil at its end.
    func line() -> String? { process.line() }

    func kill() { process.kill() }

    func closeInput() { process.closeInput() }

    /// The exit status, or minus the signal that ended it.
    @discardableResult func wait() -> Int32 { process.wait() }
}
