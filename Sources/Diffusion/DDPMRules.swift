import Foundation

/// DDPM and DDIM over DiT's respaced schedule (`DiT.md`, "DDPM and DDIM").
enum DDPMRules {
    static func ddpm(_ steps: Int, learnsVariance: Bool) -> [UpdateRule] {
        let schedule = VPSchedule(timesteps: Respacing.even(steps))
        return (0..<steps).reversed().map { k in
            var rule = start(schedule, k)
            rule.prediction = .init(x: schedule.posteriorMeanXt[k], m: schedule.posteriorMeanX0[k])
            if k > 0 {
                let (least, most) = (schedule.posteriorLogVariance[k], log(schedule.betas[k]))
                // Without a learned variance the reference takes the posterior's own.
                rule.noise = learnsVariance ? .learned(minLog: least, maxLog: most) : .fixed(exp(least / 2))
            }
            return rule
        }
    }

    static func ddim(_ steps: Int, eta: Double) -> [UpdateRule] {
        let schedule = VPSchedule(timesteps: Respacing.strided(steps) ?? Respacing.even(steps))
        return (0..<steps).reversed().map { k in
            let abar = schedule.alphasCumprod[k], previous = schedule.alphasCumprodPrevious[k]
            let sigma = eta * ((1 - previous) / (1 - abar)).squareRoot() * (1 - abar / previous).squareRoot()
            // eps = (x - sqrt(abar) m) / sqrt(1 - abar), then x' = sqrt(previous) m + sqrt(1 - previous - sigma^2) eps.
            let direction = max(0, 1 - previous - sigma * sigma).squareRoot() / (1 - abar).squareRoot()
            var rule = start(schedule, k)
            rule.prediction = .init(x: direction, m: previous.squareRoot() - direction * abar.squareRoot())
            if k > 0, sigma > 0 { rule.noise = .fixed(sigma) }
            return rule
        }
    }

    private static func start(_ schedule: VPSchedule, _ k: Int) -> UpdateRule {
        let abar = schedule.alphasCumprod[k]
        return UpdateRule(
            time: Double(schedule.timesteps[k]), xToData: 1 / abar.squareRoot(), outputToData: -(1 / abar - 1).squareRoot(),
            prediction: .init())
    }
}

/// Which of the 1000 training steps a shorter run visits (`DiT.md`, "Noise schedule").
package enum Respacing {
    /// "N": N steps from 0 to 999, the stride added up and rounded half to even.
    package static func even(_ steps: Int) -> [Int] { section(of: VPSchedule.trainingSteps, from: 0, steps: steps) }

    /// "ddimN": a whole stride from 0, the smallest that gives N steps; nil for an N that none gives.
    package static func strided(_ steps: Int) -> [Int]? {
        let total = VPSchedule.trainingSteps
        guard let stride = (1..<total).first(where: { (total + $0 - 1) / $0 == steps }) else { return nil }
        return Array(Swift.stride(from: 0, to: total, by: stride))
    }

    /// "N", "N,M,..." (equal sections, each with its own count) or "ddimN".
    package static func timesteps(_ text: String) throws(DiffusionError) -> [Int] {
        if text.hasPrefix("ddim") {
            guard let steps = Int(text.dropFirst(4)), let result = strided(steps) else { throw .respacing(text) }
            return result
        }
        let total = VPSchedule.trainingSteps
        let counts = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
        var result: [Int] = []
        var first = 0
        for (index, count) in counts.enumerated() {
            let size = total / counts.count + (index < total % counts.count ? 1 : 0)
            guard let count, (1...max(size, 1)).contains(count) else { throw .respacing(text) }
            result += section(of: size, from: first, steps: count)
            first += size
        }
        return result
    }

    private static func section(of size: Int, from first: Int, steps: Int) -> [Int] {
        let stride = steps > 1 ? Double(size - 1) / Double(steps - 1) : 1
        var position = 0.0
        return (0..<steps).map { _ in
            defer { position += stride }
            return first + Int(position.rounded(.toNearestOrEven))
        }
    }
}
