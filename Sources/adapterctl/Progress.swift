import Foundation
import SamplingEngine
import Synchronization
import SystemErrors

/// What a command is doing, for whoever waits for it: one line that moves in place, on a terminal alone and from the second second
/// on. What is printed beside it begins on a line of its own, and so does what Ctrl-C brings.
enum Progress {
    private struct Line {
        var what = ""
        var done = 0
        var count = 0
        var start = ContinuousClock.now
        var isShown = false
    }

    private static let line = Mutex<Line?>(nil)
    private static let isWatched = Mutex(false)

    /// - Parameter what: as in "sampling".
    static func begin(_ what: String) {
        guard ProgressLine.isTerminal else { return }
        line.withLock {
            erase(&$0)
            $0 = Line(what: what)
        }
        let isFirst = isWatched.withLock { watched in
            defer { watched = true }
            return !watched
        }
        guard isFirst else { return }
        Interruption.watch()
        Thread.detachNewThread(watch)
    }

    static func step(_ done: Int, of count: Int) {
        line.withLock {
            $0?.done = done
            $0?.count = count
        }
    }

    /// Sees what the engine tells of a request.
    static func follow(_ event: SamplingEvent) {
        if case .progress(let step, let count) = event { self.step(step, of: count) }
    }

    static func end() {
        line.withLock {
            erase(&$0)
            $0 = nil
            ProgressLine.end()
        }
    }

    /// Prints something of its own, with the line out of its way.
    static func aside(_ print: () -> Void) {
        line.withLock {
            erase(&$0)
            ProgressLine.end()
            print()
        }
    }

    private static func watch() {
        while true {
            usleep(200_000)
            if Interruption.happened {
                end()
                StandardStreams.say("interrupted\n")
                // The threads that compute are in the midst of it: nothing is cleaned up under them.
                _exit(130)
            }
            line.withLock { shown in
                guard let line = shown, ContinuousClock.now - line.start > .seconds(1) else { return }
                ProgressLine.draw([text(line)])
                shown?.isShown = true
            }
        }
    }

    private static func text(_ line: Line) -> String {
        let seconds = Int((ContinuousClock.now - line.start) / .seconds(1))
        let share = line.count > 0 ? " \(100 * line.done / line.count) %," : ","
        return "\(line.what)\(share) \(seconds) s"
    }

    private static func erase(_ line: inout Line?) {
        if line?.isShown == true { ProgressLine.erase() }
        line?.isShown = false
    }
}
