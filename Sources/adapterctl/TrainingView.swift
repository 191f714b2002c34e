import AdapterTraining
import Foundation

/// A run on its way, on standard error: on a terminal a line, or a curve with it, that fits the terminal's width and moves in
/// place; elsewhere a line per hundred steps.
struct TrainingView {
    private let first: Int
    private let start = ContinuousClock.now
    private let showsCurve: Bool
    private var lastShown = ContinuousClock.now

    init(_ run: TrainingRun, showsCurve: Bool) {
        first = run.step
        self.showsCurve = showsCurve
    }

    mutating func show(_ run: TrainingRun) {
        guard ProgressLine.isTerminal else {
            if run.step % 100 == 0 || run.isFinished { note(line(run, width: 200)) }
            return
        }
        // Five times a second is as much as one reads.
        guard ContinuousClock.now - lastShown > .milliseconds(200) || run.isFinished else { return }
        lastShown = .now
        let width = ProgressLine.width()
        ProgressLine.draw((showsCurve ? Self.curve(run.history, width: width, height: 6) : []) + [line(run, width: width)])
    }

    func finish(_ run: TrainingRun) {
        ProgressLine.end()
        if run.step < run.settings.steps { note("stopped at step \(run.step): the held-out error has not fallen lately") }
    }

    /// What fits of step, loss, held-out error, speed and time left, the most wanted first.
    private func line(_ run: TrainingRun, width: Int) -> String {
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let rate = Double(run.step - first) / max(seconds, 1e-9)
        let left = Int(Double(run.settings.steps - run.step) / max(rate, 1e-9))
        let recent = run.history.losses.suffix(100)
        var parts = ["\(run.step)/\(run.settings.steps)", String(format: "loss %.4f", recent.reduce(0, +) / Float(max(recent.count, 1)))]
        parts.append(String(format: "%d:%02d:%02d left", left / 3600, left / 60 % 60, left % 60))
        if let look = run.history.heldOut.last { parts.append(String(format: "held out %.4f", look.error)) }
        parts.append(String(format: "%.0f images/s", rate * Double(run.settings.imagesPerStep)))
        return parts.dropFirst().reduce(parts[0]) { $0.count + 2 + $1.count < width ? $0 + "  " + $1 : $0 }
    }

    /// The loss so far in Braille dots, two columns and four rows to a letter, the highest and lowest loss beside it.
    static func curve(_ history: TrainingHistory, width: Int, height: Int) -> [String] {
        let labels = 8
        let columns = max(2, (width - labels - 1) * 2)
        let values = history.smoothed(columns)
        let sorted = values.filter(\.isFinite).sorted()
        guard let low = sorted.first, values.count > 1 else { return [] }
        let high = max(sorted[min(sorted.count - 1, sorted.count * 98 / 100)], low + max(abs(low) * 1e-6, 1e-12))
        // Dots of a letter by row and column, as Unicode numbers them.
        let dots: [[UInt32]] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]]
        var cells = [[UInt32]](repeating: [UInt32](repeating: 0x2800, count: columns / 2), count: height)
        for column in 0..<columns {
            let value = min(max(values[column * values.count / columns], low), high)
            let row = Int((high - value) / (high - low) * Float(height * 4 - 1))
            cells[row / 4][column / 2] |= dots[row % 4][column % 2]
        }
        return cells.enumerated().map { number, row in
            let label = number == 0 ? String(format: "%.4f", high) : number == height - 1 ? String(format: "%.4f", low) : ""
            let text = String(String.UnicodeScalarView(row.compactMap(Unicode.Scalar.init)))
            return label.padding(toLength: labels, withPad: " ", startingAt: 0) + text
        }
    }
}
