import Foundation
import ImageFiles

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
