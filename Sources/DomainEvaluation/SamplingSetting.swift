import Diffusion
import SamplingEngine
import TensorMath

/// One way to sample.
package struct SamplingSetting: Sendable {
    /// As it was asked for.
    package var name: String
    package var asked: AskedSampling
    package var cache: CacheLevel
    package var precision: Precision
    /// What it came to with a subject's recipe.
    package internal(set) var sampling: BoundSampling?

    package init(name: String, _ asked: AskedSampling, cache: CacheLevel, precision: Precision) {
        (self.name, self.asked, self.cache, self.precision) = (name, asked, cache, precision)
    }
}

extension SamplingSetting: Encodable {
    enum CodingKeys: String, CodingKey { case name, guidance, scale, interval, steps, sampler, cache, precision }

    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(name, forKey: .name)
        try values.encodeIfPresent(sampling?.guidance.kind.rawValue, forKey: .guidance)
        try values.encodeIfPresent(sampling?.guidance.scale, forKey: .scale)
        try values.encodeIfPresent((sampling?.guidance.interval).map { [$0.lowerBound, $0.upperBound] }, forKey: .interval)
        try values.encodeIfPresent(sampling?.steps, forKey: .steps)
        try values.encodeIfPresent(sampling?.sampler, forKey: .sampler)
        try values.encode(cache.rawValue, forKey: .cache)
        try values.encode(precision, forKey: .precision)
    }
}
