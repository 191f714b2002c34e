import AdapterStore
import Foundation
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

    /// Kills it somewhere on its way: that the point is random is what is wanted, and nothing waits for it. Yielding the processor instead
    /// would take a busy neighbour's whole time slice each time.
    func killAtRandomPoint(using random: inout SystemRandomNumberGenerator) {
        for _ in 0..<Int.random(in: 0...10_000, using: &random) { _ = getppid() }
        kill()
    }

    func closeInput() { process.closeInput() }

    /// The exit status, or minus the signal that ended it.
    @discardableResult func wait() -> Int32 { process.wait() }
}
