/// The samplers, by the names users give.
package enum Sampler: String, Codable, Sendable, CaseIterable {
    /// DiT's ancestral sampling, with the learned variance where there is one (`DiT.md`, "DDPM and DDIM").
    case ddpm
    case ddim
    /// DPM-Solver++(2M), midpoint (arXiv 2211.01095).
    case dpmpp2m = "dpm++2m"
    /// UniPC of order 2 with its corrector, bh2 (arXiv 2302.04867).
    case unipc
    case euler
    /// Two network calls a step, except the last.
    case heun
    /// Second order from the velocity of the step before (Adams-Bashforth): one network call a step.
    case ab2 = "multistep"

    package var path: DiffusionPath {
        switch self {
        case .ddpm, .ddim, .dpmpp2m, .unipc: .vp
        case .euler, .heun, .ab2: .rectifiedFlow
        }
    }

    /// The samplers that serve a path.
    package static func of(_ path: DiffusionPath) -> [Sampler] { allCases.filter { $0.path == path } }
}
