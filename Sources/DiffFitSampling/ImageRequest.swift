import SamplingEngine

/// Pictures of one domain and class.
public struct ImageRequest: Sendable, Hashable {
    /// A domain by its name, its digest or the digest's first digits, or `name@digest`; `base`; or a recipe of several, such as
    /// `0.7*flowers+0.3*art`.
    public var domain: String
    /// A class of the domain by its name, or as `class:3`, `null` or a blend `0.5*rose+0.5*daisy`; nil takes all in turn.
    public var className: String?
    /// Pictures.
    public var count: Int
    /// Picture k is drawn from the random numbers of (seed, k), whatever runs beside it: the same seed gives the same bytes.
    public var seed: UInt64
    /// How strongly a picture is drawn to its class; 1 is no guidance, nil the usual 3, or what a distilled vector of the recipe holds.
    public var guidanceScale: Float?
    /// What it is drawn away from. Where a distilled vector of the recipe holds guidance, `cfg` without a scale of its own means that.
    public var guidance: GuidanceKind

    /// The defaults are those of `adapterctl sample`, but for one picture.
    public init(_ domain: String, class className: String? = nil, count: Int = 1, seed: UInt64 = 1, guidanceScale: Float? = nil, guidance: GuidanceKind = .cfg)
    {
        self.domain = domain
        self.className = className
        self.count = count
        self.seed = seed
        self.guidanceScale = guidanceScale
        self.guidance = guidance
    }
}

/// How far a call of a pipeline is.
public struct SamplingProgress: Sendable, Hashable {
    /// Steps done, over all pictures.
    public let step: Int
    /// Steps to do, over all pictures.
    public let total: Int
}
