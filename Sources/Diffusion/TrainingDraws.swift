import TensorMath

/// The random numbers of one training image: a function of (seed, step, image) alone, so a resumed run draws what it would have drawn.
package struct TrainingDraws: Sendable {
    /// Numbers 0 and up are the noise of the image.
    package let noise: Philox
    /// Single draws lie far past any image's noise, four apart: numbers of one block share random words.
    private static let singles: UInt64 = 1 << 40

    /// - Parameters:
    ///   - step: below 2^39.
    ///   - image: position in the batch, below 2^24.
    package init(seed: UInt64, step: Int, image: Int) {
        precondition(step >= 0 && image >= 0 && image < 1 << 24, "step \(step), image \(image)")
        // The top bit keeps training apart from the images of requests, whose streams count from 0.
        noise = Philox(seed: seed, stream: 1 << 63 | UInt64(step) << 24 | UInt64(image))
    }

    /// Standard normals for a sample of the image's posterior: numbers of their own, past all others.
    package func posteriorNoise(into x: Matrix) { noise.normals(into: x, from: 1 << 41) }

    var timeUniform: Float { noise.uniform(Self.singles) }
    var timeNormal: Float { noise.normal(Self.singles) }

    /// True with probability `rate`: the label gives way to the null class.
    package func dropsLabel(rate: Float) -> Bool { noise.uniform(Self.singles + 4) < rate }
    /// True for half of the images.
    package var flips: Bool { noise.uniform(Self.singles + 8) < 0.5 }
    /// In [0, 1) per token of the image: the order in which tokens are routed.
    package func token(_ index: Int) -> Float { noise.uniform(Self.singles + 16 + UInt64(index)) }
    /// In [0, 1): which item of a data set, where a run draws with replacement.
    package var item: Float { noise.uniform(Self.singles + 12) }
}
