import Foundation
import ImageFiles

/// What a run has shown of itself so far.
package struct TrainingHistory: Sendable, Hashable {
    /// One look at the held-out images.
    package struct Look: Sendable, Hashable {
        /// Steps done.
        package let step: Int
        package let error: Float
    }
    /// Mean loss of every step done, weighted as the run weights it.
    package internal(set) var losses: [Float] = []
    /// Norm of every step's gradient before it was clipped.
    package internal(set) var gradientNorms: [Float] = []
    package internal(set) var heldOut: [Look] = []

    /// Mean training loss over the last tenth of the steps done.
    package var recentLoss: Float { mean(of: losses.suffix(max(1, losses.count / 10))) }

    /// Mean loss of up to `count` stretches of equal length, for curves.
    package func smoothed(_ count: Int) -> [Float] {
        guard !losses.isEmpty, count > 0 else { return [] }
        let parts = min(count, losses.count)
        return (0..<parts).map { mean(of: losses[($0 * losses.count / parts)..<(($0 + 1) * losses.count / parts)]) }
    }

    private func mean(of values: ArraySlice<Float>) -> Float { values.reduce(0, +) / Float(max(values.count, 1)) }
}

extension TrainingHistory {
    /// The loss curve: the training loss, smoothed, and the held-out error where there is one, over the steps.
    package func plot() -> Plot {
        let curve = smoothed(250)
        let points = curve.enumerated().map { index, value in
            Plot.Point(x: Double(losses.count) * (Double(index) + 0.5) / Double(curve.count), y: Double(value))
        }
        var series = [Plot.Series("training loss", points)]
        if !heldOut.isEmpty { series.append(Plot.Series("held-out error", heldOut.map { Plot.Point(x: Double($0.step), y: Double($0.error)) })) }
        return Plot(title: "loss", xLabel: "step", series: series)
    }

    /// One line a step: step, loss, gradient norm, and the held-out error of the steps that have one.
    package var csv: String {
        let errors = Dictionary(heldOut.map { ($0.step, $0.error) }) { $1 }
        let lines = losses.indices.map { index in
            "\(index + 1),\(losses[index]),\(gradientNorms[index]),\(errors[index + 1].map { "\($0)" } ?? "")"
        }
        return "step,loss,gradient_norm,held_out_error\n" + lines.map { $0 + "\n" }.joined()
    }
}
