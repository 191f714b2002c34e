import Foundation

/// Samplers of the linear path, t in equal steps from 0 (noise) to 1 (data). With m the prediction of the data, the velocity
/// is (m - x) / (1 - t).
enum LinearRules {
    private static func start(_ t: Double, _ prediction: Prediction) -> UpdateRule {
        switch prediction {
        case .velocity: UpdateRule(time: t, xToData: 1, outputToData: 1 - t, prediction: .init())
        case .x0, .epsilon: UpdateRule(time: t, xToData: 0, outputToData: 1, prediction: .init())
        }
    }

    /// x' = x + h v; the last step lands on m.
    private static func step(from t: Double, to next: Double) -> UpdateRule.Combination {
        let share = (next - t) / (1 - t)
        return .init(x: 1 - share, m: share)
    }

    static func euler(_ steps: Int, _ prediction: Prediction) -> [UpdateRule] {
        (0..<steps).map { i in
            var rule = start(Double(i) / Double(steps), prediction)
            rule.prediction = step(from: rule.time, to: Double(i + 1) / Double(steps))
            return rule
        }
    }

    static func heun(_ steps: Int, _ prediction: Prediction) -> [UpdateRule] {
        let h = 1 / Double(steps)
        return (0..<steps).flatMap { i -> [UpdateRule] in
            let (t, next) = (Double(i) * h, Double(i + 1) * h)
            var first = start(t, prediction)
            first.savesLatent = true
            first.prediction = step(from: t, to: Double(i + 1) / Double(steps))
            // At t = 1 the velocity is not defined: the last step stays Euler's.
            if i + 1 == steps { return [first] }
            var second = start(next, prediction)
            let (before, after) = (h / 2 / (1 - t), h / 2 / (1 - next))
            second.prediction = .init(x: -after, saved: 1 - before, m: after, m1: before)
            return [first, second]
        }
    }

    static func multistep(_ steps: Int, _ prediction: Prediction) -> [UpdateRule] {
        let lambda = { (i: Int) in log(Double(i) / Double(steps - i)) }
        return (0..<steps).map { i in
            let t = Double(i) / Double(steps)
            var rule = start(t, prediction)
            rule.prediction = step(from: t, to: Double(i + 1) / Double(steps))
            // The first step leaves pure noise, where lambda is minus infinity, and the last lands on m: both are of first order.
            if i > 1, i + 1 < steps {
                let ratio = (lambda(i) - lambda(i - 1)) / (lambda(i + 1) - lambda(i))
                let gain = rule.prediction.m
                rule.prediction.m += gain / (2 * ratio)
                rule.prediction.m1 = -gain / (2 * ratio)
            }
            return rule
        }
    }
}
