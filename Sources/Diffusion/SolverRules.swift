import Foundation

/// DPM-Solver++(2M) and UniPC as diffusers runs them: linspace steps, final sigma zero, lower order at the end
/// (`DiT.md`, "DPM-Solver++ and UniPC").
enum SolverRules {
    /// alpha, s (the noise's scale) and lambda = ln(alpha / s) at one visited step.
    private struct Level {
        let time: Double
        let alpha, s, lambda: Double

        init(step: Int) {
            let abar = VPSchedule.training.alphasCumprod[step]
            time = Double(step)
            alpha = abar.squareRoot()
            s = (1 - abar).squareRoot()
            lambda = log(alpha / s)
        }
    }

    private static func levels(_ steps: Int) -> [Level] {
        // As numpy's linspace rounds: the stride first, and the end as it is.
        let last = Double(VPSchedule.trainingSteps - 1), stride = last / Double(steps)
        let places = (1...steps).reversed().map { k in Int((k == steps ? last : Double(k) * stride).rounded(.toNearestOrEven)) }
        // A thousand steps over 999 places meet one of them twice; it is visited once.
        return places.indices.filter { $0 == 0 || places[$0] != places[$0 - 1] }.map { Level(step: places[$0]) }
    }

    static func dpmSolver(_ steps: Int) -> [UpdateRule] {
        let levels = levels(steps)
        return levels.indices.map { i in
            var rule = UpdateRule.readingNoise(at: levels[i].time, data: levels[i].alpha, noise: levels[i].s)
            guard i + 1 < levels.count else { return rule }  // sigma 0: x = m
            let (now, next) = (levels[i], levels[i + 1])
            let h = next.lambda - now.lambda
            let gain = -next.alpha * expm1(-h)
            rule.prediction = .init(x: next.s / now.s, m: gain)
            if i > 0 {
                let ratio = (now.lambda - levels[i - 1].lambda) / h
                rule.prediction.m += gain / (2 * ratio)
                rule.prediction.m1 = -gain / (2 * ratio)
            }
            return rule
        }
    }

    static func uniPC(_ steps: Int) -> [UpdateRule] {
        let levels = levels(steps)
        let order = { (i: Int) in min(2, levels.count - i, i + 1) }
        return levels.indices.map { i in
            var rule = UpdateRule.readingNoise(at: levels[i].time, data: levels[i].alpha, noise: levels[i].s)
            rule.savesLatent = true
            if i > 0 { rule.correction = correction(levels, i, order: order(i - 1)) }
            guard i + 1 < levels.count else { return rule }
            let (now, next) = (levels[i], levels[i + 1])
            let h = next.lambda - now.lambda
            let gain = -next.alpha * expm1(-h)
            rule.prediction = .init(x: next.s / now.s, m: gain)
            if order(i) == 2 {
                // x' = base + gain D / 2, D = (m1 - m) / r.
                let r = (levels[i - 1].lambda - now.lambda) / h
                rule.prediction.m -= gain / (2 * r)
                rule.prediction.m1 += gain / (2 * r)
            }
            return rule
        }
    }

    /// From the saved x of call i - 1 to x at call i, with what call i has shown.
    private static func correction(_ levels: [Level], _ i: Int, order: Int) -> UpdateRule.Combination {
        let (last, now) = (levels[i - 1], levels[i])
        let h = now.lambda - last.lambda
        let phi = expm1(-h)
        let gain = -now.alpha * phi
        var result = UpdateRule.Combination(saved: now.s / last.s, m1: gain)
        if order == 1 {
            result.m += gain / 2
            result.m1 -= gain / 2
            return result
        }
        let g1 = phi / -h - 1
        let g2 = g1 / -h - 0.5
        let (b1, b2) = (g1 / phi, 2 * g2 / phi)
        // rho of [[1, 1], [r, 1]] rho = b.
        let r = (levels[i - 2].lambda - last.lambda) / h
        let rho1 = (b1 - b2) / (1 - r)
        let rho2 = b1 - rho1
        result.m += gain * rho2
        result.m1 -= gain * (rho2 + rho1 / r)
        result.m2 += gain * rho1 / r
        return result
    }
}
