import Foundation
import Synchronization
import SystemErrors

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
