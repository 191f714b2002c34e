import Foundation

/// Samplers of rectified flow, t in equal steps from 0 (noise) to 1 (data). With m the prediction of the data, the velocity
/// is (m - x) / (1 - t).
enum RectifiedFlowRules {
    /// x' = x + h v; the last step lands on m.
    private static func step(from t: Double, to next: Double) -> UpdateRule.Combination {
        let share = (next - t) / (1 - t)
        return .init(x: 1 - share, m: share)
    }

    static func euler(_ steps: Int, _ prediction: Prediction) -> [UpdateRule] {
        (0..<steps).map { i in
            var rule = UpdateRule.reading(prediction, atLinear: Double(i) / Double(steps))
            rule.prediction = step(from: rule.time, to: Double(i + 1) / Double(steps))
            return rule
        }
    }

    static func heun(_ steps: Int, _ prediction: Prediction) -> [UpdateRule] {
        let h = 1 / Double(steps)
        return (0..<steps).flatMap { i -> [UpdateRule] in
            let (t, next) = (Double(i) * h, Double(i + 1) * h)
            var first = UpdateRule.reading(prediction, atLinear: t)
            first.savesLatent = true
            first.prediction = step(from: t, to: Double(i + 1) / Double(steps))
            // At t = 1 the velocity is not defined: the last step stays Euler's.
            if i + 1 == steps { return [first] }
            var second = UpdateRule.reading(prediction, atLinear: next)
            let (before, after) = (h / 2 / (1 - t), h / 2 / (1 - next))
            second.prediction = .init(x: -after, saved: 1 - before, m: after, m1: before)
            return [first, second]
        }
    }

    /// Adams and Bashforth's second-order step: x' = x + h (3 v - v1) / 2.
    static func ab2(_ steps: Int, _ prediction: Prediction) -> [UpdateRule] {
        let h = 1 / Double(steps)
        return (0..<steps).map { i in
            let t = Double(i) * h
            var rule = UpdateRule.reading(prediction, atLinear: t)
            rule.savesLatent = true
            // The first step knows no velocity before it, and the last lands on m.
            guard i > 0, i + 1 < steps else {
                rule.prediction = step(from: t, to: Double(i + 1) / Double(steps))
                return rule
            }
            let (now, before) = (1.5 * h / (1 - t), 0.5 * h / (1 - t + h))
            rule.prediction = .init(x: 1 - now, saved: before, m: now, m1: -before)
            return rule
        }
    }
}
