import Foundation
import SamplingEngine
import Synchronization
import SystemIO

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

/// What a terminal shows of work under way: one or more lines that are drawn over, until something else is said. That begins on a line of its own.
enum ProgressLine {
    /// Lines drawn so far, on whose last the cursor stands.
    private static let shown = Mutex(0)

    /// Whether standard error is a terminal, where lines can be drawn over.
    static let isTerminal = isatty(STDERR_FILENO) == 1

    /// Draws the lines over those before.
    static func draw(_ lines: [String]) {
        shown.withLock { shown in
            let up = shown > 1 ? "\u{1B}[\(shown - 1)A" : ""
            StandardStreams.say(up + "\r" + lines.map { $0 + "\u{1B}[K" }.joined(separator: "\n"))
            shown = lines.count
        }
    }

    /// Takes away the one line that is drawn.
    static func erase() {
        shown.withLock { shown in
            if shown == 1 { StandardStreams.say("\r\u{1B}[K") }
            shown = 0
        }
    }

    /// Leaves what is drawn, and goes to the next line.
    static func end() {
        shown.withLock { shown in
            if shown > 0 { StandardStreams.say("\n") }
            shown = 0
        }
    }

    /// Columns of the terminal; a phone has some forty.
    static func width() -> Int {
        var size = winsize()
        guard unsafe ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return max(20, Int(size.ws_col))
    }
}

/// Ctrl-C, a polite kill and a terminal that goes away, seen at the next step.
enum Interruption {
    // Written by the signal handler alone, read by the loop; one aligned word.
    private nonisolated(unsafe) static var flag: sig_atomic_t = 0

    static func watch() {
        var numbers = sigset_t()
        unsafe sigemptyset(&numbers)
        for number in [SIGINT, SIGTERM, SIGHUP] {
            var old = sigaction()
            // Under nohup a run goes on without its terminal.
            if number == SIGHUP, unsafe sigaction(number, nil, &old) == 0, unsafe unsafeBitCast(old.__sigaction_handler.sa_handler, to: UInt.self) == 1 {
                continue
            }
            signal(number) { _ in unsafe Interruption.flag = 1 }
            unsafe sigaddset(&numbers, number)
        }
        // A parent may have left them blocked.
        unsafe pthread_sigmask(SIG_UNBLOCK, &numbers, nil)
    }

    static var happened: Bool { unsafe flag != 0 }
}
