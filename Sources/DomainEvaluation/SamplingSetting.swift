import Diffusion
import SamplingEngine
import TensorMath

/// One way to sample.
package struct SamplingSetting: Sendable {
    /// As it was asked for.
    package var name: String
    package var guidance: ImageGuidance
    package var steps: Int
    package var sampler: Sampler
    package var cache: CacheLevel
    package var precision: Precision

    package init(name: String, guidance: ImageGuidance, steps: Int, sampler: Sampler, cache: CacheLevel, precision: Precision) {
        (self.name, self.guidance, self.steps, self.sampler, self.cache, self.precision) = (name, guidance, steps, sampler, cache, precision)
    }
}

extension SamplingSetting: Encodable {
    enum CodingKeys: String, CodingKey { case name, guidance, scale, interval, steps, sampler, cache, precision }

    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(name, forKey: .name)
        try values.encode(guidance.kind.rawValue, forKey: .guidance)
        try values.encode(guidance.scale, forKey: .scale)
        try values.encode([guidance.interval.lowerBound, guidance.interval.upperBound], forKey: .interval)
        try values.encode(steps, forKey: .steps)
        try values.encode(sampler, forKey: .sampler)
        try values.encode(cache.rawValue, forKey: .cache)
        try values.encode(precision, forKey: .precision)
    }
}
