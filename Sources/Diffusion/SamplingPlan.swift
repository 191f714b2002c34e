/// A sampler laid out for a number of steps: one update rule per network call, every coefficient computed in double
/// precision beforehand. Immutable; any number of images may go through it at their own pace.
package struct SamplingPlan: Sendable {
    package let sampler: Sampler
    package let steps: Int
    package let convention: DiffusionConvention
    package let rules: [UpdateRule]

    /// - Parameters:
    ///   - steps: 1 to 1000.
    ///   - eta: DDIM's share of ancestral noise, 0 (none) to 1.
    ///   - clips: whether each prediction of the data is clamped to -1...1; right for pixels, wrong for latents.
    package init(
        _ sampler: Sampler, steps: Int, _ convention: DiffusionConvention, eta: Double = 0, clips: Bool = false
    ) throws(DiffusionError) {
        guard sampler.path == convention.path else { throw .samplerOffPath(sampler, convention.path) }
        guard (1...VPSchedule.trainingSteps).contains(steps) else { throw .steps(steps) }
        guard (0...1).contains(eta) else { throw .eta(eta) }
        self.sampler = sampler
        self.steps = steps
        self.convention = convention
        var rules =
            switch sampler {
            case .ddpm: DDPMRules.ddpm(steps, learnsVariance: convention.learnsVariance)
            case .ddim: DDPMRules.ddim(steps, eta: eta)
            case .dpmpp2m: SolverRules.dpmSolver(steps)
            case .unipc: SolverRules.uniPC(steps)
            case .euler: RectifiedFlowRules.euler(steps, convention.prediction)
            case .heun: RectifiedFlowRules.heun(steps, convention.prediction)
            case .ab2: RectifiedFlowRules.ab2(steps, convention.prediction)
            }
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
