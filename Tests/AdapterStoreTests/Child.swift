import AdapterStore
import ProgramRunner

/// One run of `storehammer`, built beside the tests.
final class Child {
    private let process: RunningProgram

    init(_ arguments: String...) throws {
        process = try RunningProgram(builtProgram("storehammer"), arguments, output: .followed, hasInput: true)
    }

    var processIdentifier: Int { Int(process.identifier) }

    /// The next line of output, nil at its end.
    func line() -> String? { process.line() }

    func kill() { process.kill() }

    func closeInput() { process.closeInput() }

    /// The exit status, or minus the signal that ended it.
    @discardableResult func wait() -> Int32 { process.wait() }
}
