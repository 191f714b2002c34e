import Foundation
import ProgramRunner
import Testing

@Suite(.serialized, .heavy) struct ProgramRunnerTests {
    @Test func outputErrorsAndStatusAreTold() throws {
        let ended = try run("sh", ["-c", "echo out; echo err >&2; exit 7"])
        #expect(ended.code == 7)
        #expect(ended.output == "out\n")
        #expect(ended.errors == "err\n")
        #expect(try run("sh", ["-c", "kill -TERM $$"]).code == -SIGTERM)
        // More than a pipe holds.
        #expect(try run("sh", ["-c", "yes | head -c 300000"]).output.utf8.count == 300_000)
        #expect(throws: RunningProgram.NotStarted.self) { try run("/no/such/program") }
        #expect(try run("cat").output.isEmpty, "input is empty")
    }

    @Test func wordsAndLinesAreWaitedForAndTheEndIsSeen() throws {
        let program = try RunningProgram(
            "sh", ["-c", "echo one; echo ready >&2; read line; echo $line; exec cat"], output: .followed, errors: .followed, hasInput: true)
        #expect(program.waitForErrors("ready"))
        #expect(program.line() == "one")
        #expect(program.isRunning)
        program.closeInput()
        #expect(program.line() == "")
        #expect(program.line() == nil)
        #expect(program.wait() == 0)
        #expect(!program.isRunning)
        #expect(!program.waitForErrors("never"))
        // A signal to a program that has ended reaches nobody.
        program.signal(SIGKILL)
        #expect(program.wait() == 0)
    }

    /// Whatever this process ignores, a program begins with every signal as it was.
    @Test func signalsAreTheProgramsOwn() throws {
        signal(SIGINT, SIG_IGN)
        defer { signal(SIGINT, SIG_DFL) }
        let program = try RunningProgram("sh", ["-c", "echo up; exec cat"], output: .followed, hasInput: true)
        #expect(program.line() == "up")
        program.signal(SIGINT)
        #expect(program.wait() == -SIGINT)
    }

    /// What a program started and left behind ends with it.
    @Test func nobodyIsLeftBehind() throws {
        let program = try RunningProgram("sh", ["-c", "tail -f /dev/null & echo $!; exit 0"], output: .followed)
        let child = try #require(program.line().flatMap(Int32.init))
        #expect(program.wait() == 0)
        // Its output ends when the last process that holds it has ended.
        #expect(program.line() == nil)
        while !hasEnded(child) { sched_yield() }
    }

    /// This test's own process killed with 9: its programs and folders are gone all the same.
    @Test func aKilledTestLeavesNothing() throws {
        let tester = try RunningProgram(builtProgram("orphanmaker"), output: .followed, hasInput: true)
        let child = try #require(tester.line().flatMap(Int32.init))
        let folder = try #require(tester.line())
        #expect(!hasEnded(child))
        #expect(FileManager.default.fileExists(atPath: folder))
        tester.signal(SIGKILL)
        #expect(tester.wait() == -SIGKILL)
        while !hasEnded(child) || FileManager.default.fileExists(atPath: folder) { sched_yield() }
    }

    /// Gone, or a zombie that nobody has looked after.
    private func hasEnded(_ process: Int32) -> Bool {
        guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8) else { return true }
        return text.split(separator: ")").last?.split(separator: " ").first == "Z"
    }
}
