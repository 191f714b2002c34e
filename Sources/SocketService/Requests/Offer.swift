import AdapterFormat
import Diffusion

/// What this server makes of a request's open fields: the base's picture size, its samplers, the defaults and limits.
package struct Offer: Sendable, Equatable {
    package var side: Int
    package var samplers: [Sampler]
    package var sampler: Sampler
    package var steps = 40
    package var guidanceScale: Float = 2
    package var limits = RequestLimits()

    package init(side: Int, path: DiffusionPath, limits: RequestLimits = RequestLimits()) {
        self.side = side
        self.limits = limits
        samplers = Sampler.of(path)
        sampler = path == .linear ? .multistep : .ddim
    }

    package var size: String { "\(side)x\(side)" }
}
