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
    /// What pictures can be decoded by; none where the base makes pixels.
    package var decoders: [DecoderKind]
    package var samplers: [Sampler]
    package var sampler: Sampler
    package var steps = UsualSampling.steps
    package var guidanceScale = UsualSampling.guidanceScale
    package var limits = RequestLimits()
    package var foreignSize = ForeignSize.refuse

    package init(side: Int, path: DiffusionPath, decoders: [DecoderKind] = [], limits: RequestLimits = RequestLimits()) {
        self.side = side
        self.decoders = decoders
        self.limits = limits
        samplers = Sampler.of(path)
        sampler = UsualSampling.sampler(path)
    }

    package var size: String { "\(side)x\(side)" }
}

/// What one request may ask for; published at `/v1/capabilities`.
package struct RequestLimits: Sendable, Equatable, Encodable {
    package var bodyBytes = 64 << 10
    package var headerBytes = 16 << 10
    package var jsonDepth = 8
    package var images = 64
    package var steps = 1000
    package var partialImages = 3
    /// Bytes of a text field.
    package var textBytes = 512
    package var guidanceScale: Float = 50
    package var recipeBytes = 16 << 10
    /// Terms of a recipe, and of them the arguments of ties, dare and majority.
    package var recipeTerms = 256
    package var mergeTerms = 64
    /// Bytes of a blend of classes.
    package var classBytes = 1 << 10
    package var strength = 10.0
    package var deadlineMs = 3_600_000
    package var connections = 2048
    /// Jobs that have not ended.
    package var jobs = 256

    package init() {}
}
