import AdapterFormat
import Diffusion
import SamplingEngine

/// What becomes of a request for a size that an adapter does not make.
package enum ForeignSize: String, Sendable, CaseIterable {
    /// 400 with the sizes that there are.
    case refuse
    /// The nearest size that the adapter makes; the reply names it.
    case nearest
}

/// What this server makes of a request's open fields: the base's picture size, its samplers, the defaults and limits.
package struct Capabilities: Sendable, Equatable {
    package var side: Int
    package var samplers: [Sampler]
    package var sampler: Sampler
    package var steps = UsualSampling.steps
    package var guidanceScale = UsualSampling.guidanceScale
    package var limits = RequestLimits()
    package var foreignSize = ForeignSize.refuse

    package init(side: Int, path: DiffusionPath, limits: RequestLimits = RequestLimits()) {
        self.side = side
        self.limits = limits
        samplers = Sampler.of(path)
        sampler = UsualSampling.sampler(path)
    }

    package var size: String { "\(side)x\(side)" }
}
