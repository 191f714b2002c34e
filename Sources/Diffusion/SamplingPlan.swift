import TensorMath

/// A sampler laid out for a number of steps: one update rule per network call, every coefficient computed in double
/// precision beforehand. Immutable; any number of images may go through it at their own pace.
package struct SamplingPlan: Sendable {
    package let sampler: Sampler
    package let steps: Int
    package let convention: DiffusionConvention
    package let rules: [UpdateRule]
    /// Where the first latent is not the noise itself.
    package let start: FittedSolver.Start?

    /// - Parameters:
    ///   - steps: 1 to 1000.
    ///   - eta: DDIM's share of ancestral noise, 0 (none) to 1.
    ///   - clips: whether each prediction of the data is clamped to -1...1; right for pixels, wrong for latents.
    package init(
        _ sampler: Sampler, steps: Int, _ convention: DiffusionConvention, eta: Double = 0, clips: Bool = false
    ) throws(DiffusionError) {
        guard let path = sampler.path else { throw .noSolver }
        guard path == convention.path else { throw .samplerOffPath(sampler, convention.path) }
        guard (1...VPSchedule.trainingSteps).contains(steps) else { throw .steps(steps) }
        guard (0...1).contains(eta) else { throw .eta(eta) }
        self.sampler = sampler
        self.steps = steps
        self.convention = convention
        start = nil
        var rules =
            switch sampler {
            case .ddpm: DDPMRules.ddpm(steps, learnsVariance: convention.learnsVariance)
            case .ddim: DDPMRules.ddim(steps, eta: eta)
            case .dpmpp2m: SolverRules.dpmSolver(steps)
            case .unipc: SolverRules.uniPC(steps)
            case .euler: RectifiedFlowRules.euler(steps, convention.prediction)
            case .heun: RectifiedFlowRules.heun(steps, convention.prediction)
            case .ab2: RectifiedFlowRules.ab2(steps, convention.prediction)
            case .fitted: preconditionFailure("a fitted solver has no rules of its own")
            }
        for index in rules.indices { rules[index].clips = clips }
        self.rules = rules
    }

    /// A sampler that was fitted to an adapter.
    /// - Throws: `DiffusionError.brokenSolver` where its times or coefficients are none.
    package init(_ solver: FittedSolver, _ convention: DiffusionConvention, clips: Bool = false) throws(DiffusionError) {
        if let fault = solver.fault(on: convention.path) { throw .brokenSolver(fault) }
        sampler = .fitted
        steps = solver.steps.count
        self.convention = convention
        start = solver.start
        var rules = solver.rules(convention)
        for index in rules.indices { rules[index].clips = clips }
        self.rules = rules
    }

    /// Network calls for one image.
    package var evaluations: Int { rules.count }

    /// Whole steps behind network call `index`.
    package func stepsDone(before index: Int) -> Int { index * steps / evaluations }

    /// Weight of the noise in x_t at network call `index`: 0 (data) to 1 (noise) on either path.
    package func noiseLevel(_ index: Int) -> Double { convention.path.noiseLevel(rules[index].time) }

    /// What the timestep embedder takes at network call `index`.
    package func embedderTime(_ index: Int) -> Float { convention.embedderTime(rules[index].time) }
}

/// The samplers, by the names users give.
///
/// DDPM, DDIM, DPM-Solver++ and UniPC serve bases on the VP path (DiT); Euler, Heun and AB2 bases on the linear path (rectified flow);
/// a fitted solver the adapter that it was fitted to.
public enum Sampler: String, Codable, Sendable, CaseIterable {
    /// DiT's ancestral sampling, with the learned variance where there is one (`DiT.md`, "DDPM and DDIM").
    case ddpm
    /// Deterministic (arXiv 2010.02502, eta 0).
    case ddim
    /// DPM-Solver++(2M), midpoint (arXiv 2211.01095).
    case dpmpp2m = "dpm++2m"
    /// UniPC of order 2 with its corrector, bh2 (arXiv 2302.04867).
    case unipc
    /// First order: one network call a step.
    case euler
    /// Two network calls a step, except the last.
    case heun
    /// Second order from the velocity of the step before (Adams-Bashforth): one network call a step.
    case ab2 = "multistep"
    /// Few steps at times and with coefficients that were fitted to one adapter, on either path (`FittedSolver`).
    case fitted

    /// nil where it serves any.
    package var path: DiffusionPath? {
        switch self {
        case .fitted: nil
        case .ddpm, .ddim, .dpmpp2m, .unipc: .vp
        case .euler, .heun, .ab2: .rectifiedFlow
        }
    }

    /// The samplers that serve a path.
    package static func of(_ path: DiffusionPath) -> [Sampler] { allCases.filter { $0.path == path || $0.path == nil } }
}

/// What happens to one image after one network call. Every sampler of this module is such a list: each update is linear in
/// the latent x, a saved latent, and the predictions m of the data from this call and the two before.
package struct UpdateRule: Sendable {
    /// t of the call, in the path's own unit.
    package var time: Double
    /// m = xToData x + outputToData output.
    var xToData: Double
    var outputToData: Double
    /// Where present, x is first replaced by this combination (UniPC's corrector).
    var correction: Combination?
    /// Whether x, corrected, is kept for later calls.
    var savesLatent = false
    /// The next x.
    var prediction: Combination
    var noise = Noise.none
    var clips = false

    struct Combination: Sendable {
        var x = 0.0
        var saved = 0.0
        var m = 0.0
        /// The prediction one call ago, and two.
        var m1 = 0.0
        var m2 = 0.0
    }

    enum Noise: Sendable {
        case none
        case fixed(Double)
        /// Standard deviation exp((f maxLog + (1 - f) minLog) / 2) with f = (v + 1) / 2, v from the output's second half.
        case learned(minLog: Double, maxLog: Double)
    }

    /// Writes the data as an output at `latent` predicts them.
    package func predictData(_ latent: Matrix, _ output: Matrix, into data: Matrix) {
        let (fromX, fromOutput) = (Float(xToData), Float(outputToData))
        latent.withSpan { x in
            output.withSpan { output in
                data.withMutableSpan { data in
                    for i in x.indices {
                        let m = fromX * x[i] + fromOutput * output[i]
                        data[i] = clips ? min(max(m, -1), 1) : m
                    }
                }
            }
        }
    }

    /// Takes a gradient at the predicted data to the output that they were predicted from; where they were clamped it is 0.
    /// - Parameters:
    ///   - gradient: at the front that of the data, overwritten.
    ///   - data: as `predictData` wrote them.
    package func takeToOutput(_ gradient: Matrix, data: Matrix) {
        let factor = Float(outputToData)
        data.withSpan { data in
            gradient.withMutableSpan { gradient in
                for i in data.indices { gradient[i] = clips && abs(data[i]) >= 1 ? 0 : factor * gradient[i] }
            }
        }
    }

    /// Whether `SamplerState.advance` will draw noise.
    package var drawsNoise: Bool {
        if case .none = noise { false } else { true }
    }
}
