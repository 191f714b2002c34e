import Diffusion
import Foundation
import TensorMath
import Testing

/// Gaussian data, whose exact prediction is known: every deterministic sampler must come to the closed form, at its own order.
@Suite struct SamplerConvergenceTests {
    /// Data N(mean, deviation^2).
    private let mean = 0.3, deviation = 0.5

    /// E[data | x] at signal scale a and noise scale s.
    private func data(_ x: Double, _ a: Double, _ s: Double) -> Double {
        let variance = a * a * deviation * deviation + s * s
        return mean + a * deviation * deviation / variance * (x - a * mean)
    }

    /// The largest error over a few starting points of the flow's end against its closed form.
    private func error(_ sampler: Sampler, steps: Int, _ prediction: Prediction) throws -> Double {
        let isLinear = sampler.path == .rectifiedFlow
        let convention = try DiffusionConvention(path: #require(sampler.path), prediction: prediction)
        let plan = try SamplingPlan(sampler, steps: steps, convention)
        let state = SamplerState(plan, count: 16, seed: 3, image: 0)
        let start = state.latent.array.map(Double.init)
        let out = Memory(capacity: 16).take(16)
        while !state.isFinished {
            let rule = plan.rules[state.position]
            let t = rule.time
            let abar = isLinear ? 0 : VPSchedule.training.alphasCumprod[Int(t)]
            let (a, s) = isLinear ? (t, 1 - t) : (abar.squareRoot(), (1 - abar).squareRoot())
            out.copy(
                from: state.latent.array.map { x in
                    let m = data(Double(x), a, s)
                    switch prediction {
                    case .x0: return Float(m)
                    case .velocity: return Float((m - Double(x)) / (1 - t))
                    case .epsilon: return Float((Double(x) - a * m) / s)
                    }
                })
            state.advance(out)
        }
        // The flow keeps each point at its quantile: x0 = mean + deviation (x - a mean) / sqrt(a^2 deviation^2 + s^2).
        let last = VPSchedule.training.alphasCumprod[isLinear ? 999 : Int(plan.rules[0].time)]
        let (a, s) = isLinear ? (0.0, 1.0) : (last.squareRoot(), (1 - last).squareRoot())
        return zip(start, state.latent.array).reduce(0) { worst, pair in
            let exact = mean + deviation * (pair.0 - a * mean) / (a * a * deviation * deviation + s * s).squareRoot()
            return max(worst, abs(Double(pair.1) - exact))
        }
    }

    /// numpy's linspace multiplies by a stride that is rounded already: 15 of 30 is 499.49..., not 499.5.
    @Test func theVisitedStepsAreNumpys() throws {
        let plan = try SamplingPlan(.dpmpp2m, steps: 30, DiffusionConvention(path: .vp, prediction: .epsilon))
        #expect(plan.rules.map(\.time).prefix(2) == [999, 966])
        #expect(plan.rules[15].time == 499)
        #expect(plan.rules.last?.time == 33)
    }

    /// A thousand steps over 999 places meet one of them twice.
    @Test(arguments: [Sampler.dpmpp2m, .unipc]) func theMostStepsAreFinite(sampler: Sampler) throws {
        let plan = try SamplingPlan(sampler, steps: 1000, DiffusionConvention(path: .vp, prediction: .epsilon))
        #expect(plan.evaluations == 999)
        #expect(Set(plan.rules.map(\.time)).count == 999)
        #expect(try error(sampler, steps: 1000, .epsilon) < 1e-3)
    }

    @Test(arguments: [(Sampler.euler, 1.0), (.heun, 2.0), (.ab2, 2.0)], [Prediction.x0, .velocity])
    func linearPathSamplersConvergeAtTheirOrder(sampler: (Sampler, Double), prediction: Prediction) throws {
        let coarse = try error(sampler.0, steps: 20, prediction), fine = try error(sampler.0, steps: 80, prediction)
        let order = log(coarse / fine) / log(4)
        #expect(fine < 0.02, "errors \(coarse), \(fine): order \(order)")
        #expect(order > sampler.1 - 0.35, "errors \(coarse), \(fine): order \(order)")
    }

    @Test(arguments: [(Sampler.ddim, 0.7, 0.08), (.dpmpp2m, 1.3, 0.005), (.unipc, 1.3, 0.01)])
    func vpSamplersConverge(sampler: Sampler, order least: Double, error limit: Double) throws {
        let coarse = try error(sampler, steps: 10, .epsilon), fine = try error(sampler, steps: 40, .epsilon)
        let order = log(coarse / fine) / log(4)
        #expect(fine < limit, "errors \(coarse), \(fine): order \(order)")
        #expect(order > least, "errors \(coarse), \(fine): order \(order)")
    }

    @Test func samplersAreRefusedOffTheirPath() throws {
        #expect(throws: DiffusionError.samplerOffPath(.ddim, .rectifiedFlow)) {
            try SamplingPlan(.ddim, steps: 10, DiffusionConvention(path: .rectifiedFlow, prediction: .x0))
        }
        #expect(throws: DiffusionError.steps(0)) { try SamplingPlan(.ddim, steps: 0, .dit) }
    }

    @Test func ancestralSamplingHasTheVarianceOfItsOwnRecursion() throws {
        let steps = 50, count = 20_000
        let plan = try SamplingPlan(.ddpm, steps: steps, DiffusionConvention(path: .vp, prediction: .epsilon))
        let schedule = VPSchedule(timesteps: Respacing.even(steps))
        let state = SamplerState(plan, count: count, seed: 5, image: 0)
        let out = Memory(capacity: count + 16).take(count)
        var (expectedMean, expectedVariance) = (0.0, 1.0)
        for k in (0..<steps).reversed() {
            let abar = schedule.alphasCumprod[k]
            let (a, s) = (abar.squareRoot(), (1 - abar).squareRoot())
            out.copy(from: state.latent.array.map { Float((Double($0) - a * data(Double($0), a, s)) / s) })
            state.advance(out)
            // Gaussian data make the prediction linear in x, so mean and variance follow exactly.
            let offset = data(0, a, s), slope = data(1, a, s) - offset
            let factor = schedule.posteriorMeanXt[k] + schedule.posteriorMeanX0[k] * slope
            expectedMean = factor * expectedMean + schedule.posteriorMeanX0[k] * offset
            expectedVariance = factor * factor * expectedVariance + (k > 0 ? exp(schedule.posteriorLogVariance[k]) : 0)
        }
        let values = state.latent.array.map(Double.init)
        let average = values.reduce(0, +) / Double(count)
        let variance = values.reduce(0) { $0 + ($1 - average) * ($1 - average) } / Double(count)
        // Five standard errors of either.
        #expect(abs(average - expectedMean) < 5 * (expectedVariance / Double(count)).squareRoot())
        #expect(abs(variance - expectedVariance) < 5 * expectedVariance * (2 / Double(count)).squareRoot())
        #expect(abs(expectedVariance.squareRoot() - deviation) < 0.06)
    }

    @Test func respacedTablesAreTheRecordedOnes() throws {
        let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/schedules.json")
        let recorded = try JSONSerialization.jsonObject(with: Data(contentsOf: path)) as! [String: Any]
        var checked = 0
        for (name, value) in recorded {
            guard let table = value as? [String: Any], let steps = (table["timestep_map"] ?? table["timesteps"]) as? [Int] else { continue }
            let schedule = VPSchedule(timesteps: try Respacing.timesteps(name))
            #expect(schedule.timesteps == steps, "\(name)")
            for (got, key) in [
                (schedule.betas, "betas"), (schedule.posteriorLogVariance, "posterior_log_variance_clipped"),
                (schedule.posteriorMeanX0, "posterior_mean_coef1"), (schedule.posteriorMeanXt, "posterior_mean_coef2"),
            ] {
                let wanted = try #require(table[key] as? [Double])
                #expect(got.count == wanted.count, "\(name) \(key)")
                #expect(zip(got, wanted).allSatisfy { isClose($0, $1, 1e-12) }, "\(name) \(key)")
            }
            checked += 1
        }
        #expect(checked >= 5)
    }
}
