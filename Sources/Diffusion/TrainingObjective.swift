import Foundation
import TensorMath

/// Loss of one image, before any scale.
package struct ImageLoss: Sendable, Hashable {
    /// Mean squared error of what the loss is taken on (epsilon or velocity), unweighted.
    package let mse: Float
    /// The variational bound in bits per value, where the variance is learned; else 0.
    package let vlb: Float
    /// weight mse + vlb.
    package let total: Float
}

/// What a network is trained for, one image at a time; allocates nothing.
package struct TrainingObjective: Sendable {
    package let convention: DiffusionConvention
    package let weighting: LossWeighting
    /// Mean and deviation of the logit of t of rectified flow.
    package let logitMean: Float
    package let logitDeviation: Float
    /// 1 - t is not divided by less, in prediction and target alike, where x0 is predicted and the loss taken on the velocity.
    package static let leastDivisor = 0.05

    package init(
        _ convention: DiffusionConvention, weighting: LossWeighting = .constant, logitMean: Float = -0.3, logitDeviation: Float = 1
    ) {
        self.convention = convention
        self.weighting = weighting
        self.logitMean = logitMean
        self.logitDeviation = logitDeviation
    }

    /// t of one image: a whole number from 0 to 999 on the VP path, sigmoid(N(mean, deviation)) of rectified flow.
    package func time(_ draws: TrainingDraws) -> Double {
        switch convention.path {
        case .vp: Double((draws.timeUniform * Float(VPSchedule.trainingSteps)).rounded(.down))
        case .rectifiedFlow: 1 / (1 + exp(-Double(logitMean + logitDeviation * draws.timeNormal)))
        }
    }

    /// What the embedder takes for t.
    package func embedderTime(_ t: Double) -> Float { convention.embedderTime(t) }

    /// x_t from data and noise, all of one size.
    package func mix(x0: Span<Float>, noise: Span<Float>, t: Double, into xt: inout MutableSpan<Float>) {
        precondition(noise.count == x0.count && xt.count == x0.count, "\(x0.count) values, \(noise.count) of noise, \(xt.count) mixed")
        let (signal, spread) = scales(t)
        for i in 0..<x0.count { xt[i] = signal * x0[i] + spread * noise[i] }
    }

    /// Loss of one image from the network's output, and its gradient.
    ///
    /// - Parameters:
    ///   - output: (C, S, S) or (2 C, S, S); a second half without learned variance is ignored and its gradient 0.
    ///   - x0, noise, xt: (C, S, S), as given to and made by `mix`.
    ///   - scale: factor of the gradient, 1 / batch for the mean over a batch; the returned loss is without it.
    ///   - gradient: d(scale total) / d(output), overwritten.
    package func loss(
        output: Span<Float>, x0: Span<Float>, noise: Span<Float>, xt: Span<Float>, t: Double, scale: Float,
        gradient: inout MutableSpan<Float>
    ) -> ImageLoss {
        let count = x0.count
        precondition(
            noise.count == count && xt.count == count && gradient.count == output.count
                && (output.count == 2 * count || output.count == count && !convention.learnsVariance),
            "an output of \(output.count) values for an image of \(count)")
        for i in count..<max(count, output.count) { gradient[i] = 0 }
        switch convention.prediction {
        case .epsilon:
            let abar = VPSchedule.training.alphasCumprod[Int(t)]
            let weight = Float(weighting.onEpsilon(snr: abar / (1 - abar)))
            let slope = 2 * weight * scale / Float(count)
            var sum = 0.0
            for i in 0..<count {
                let error = output[i] - noise[i]
                sum += Double(error * error)
                gradient[i] = slope * error
            }
            let mse = Float(sum / Double(count))
            guard convention.learnsVariance else { return ImageLoss(mse: mse, vlb: 0, total: weight * mse) }
            let bound = VariationalBound(step: Int(t))
            let vlb = bound.loss(output: output, x0: x0, xt: xt, scale: scale, gradient: &gradient)
            return ImageLoss(mse: mse, vlb: vlb, total: weight * mse + vlb)
        case .velocity:
            let weight = Float(weighting.onVelocity(t: t, divisor: 1 - t))
            let slope = 2 * weight * scale / Float(count)
            var sum = 0.0
            for i in 0..<count {
                let error = output[i] - (x0[i] - noise[i])
                sum += Double(error * error)
                gradient[i] = slope * error
            }
            let mse = Float(sum / Double(count))
            return ImageLoss(mse: mse, vlb: 0, total: weight * mse)
        case .x0:
            // Velocity (x0 - x_t) / divisor on both sides: x_t falls out of the difference.
            let divisor = max(1 - t, Self.leastDivisor)
            let weight = Float(weighting.onVelocity(t: t, divisor: divisor))
            let inverse = Float(1 / divisor)
            let slope = 2 * weight * scale * inverse / Float(count)
            var sum = 0.0
            for i in 0..<count {
                let error = (output[i] - x0[i]) * inverse
                sum += Double(error * error)
                gradient[i] = slope * error
            }
            let mse = Float(sum / Double(count))
            return ImageLoss(mse: mse, vlb: 0, total: weight * mse)
        }
    }

    /// `mix` on rows of matrices.
    package func mix(x0: Matrix, noise: Matrix, t: Double, into xt: Matrix) {
        x0.withSpan { x0 in noise.withSpan { noise in xt.withMutableSpan { mix(x0: x0, noise: noise, t: t, into: &$0) } } }
    }

    /// `loss` on rows of matrices.
    package func loss(output: Matrix, x0: Matrix, noise: Matrix, xt: Matrix, t: Double, scale: Float, gradient: Matrix) -> ImageLoss {
        output.withSpan { output in
            x0.withSpan { x0 in
                noise.withSpan { noise in
                    xt.withSpan { xt in
                        gradient.withMutableSpan { loss(output: output, x0: x0, noise: noise, xt: xt, t: t, scale: scale, gradient: &$0) }
                    }
                }
            }
        }
    }

    /// Factors of data and noise in x_t.
    private func scales(_ t: Double) -> (signal: Float, spread: Float) {
        switch convention.path {
        case .vp:
            let abar = VPSchedule.training.alphasCumprod[Int(t)]
            return (Float(abar.squareRoot()), Float((1 - abar).squareRoot()))
        case .rectifiedFlow: return (Float(t), Float(1 - t))
        }
    }
}

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
    /// In [0, 1): which call of a teacher's trajectory.
    package var place: Float { noise.uniform(Self.singles) }
    /// In [0, 1): which item of a data set, where a run draws with replacement.
    package var item: Float { noise.uniform(Self.singles + 12) }
}

/// Weight of the squared error over time; a learned-variance term is never weighted.
///
/// Min-SNR-gamma (arXiv 2303.09556): min(SNR, g) on the error of x0, and what that makes of the error of another prediction.
/// The soft form g SNR / (g + SNR) is the Hourglass DiT's (arXiv 2401.11605).
package enum LossWeighting: Sendable, Hashable, CustomStringConvertible {
    case constant
    case minSNR(Double)
    case softMinSNR(Double)

    /// Reads 'constant', 'min-snr:5', 'soft-min-snr:4'.
    package init(_ text: String) throws(DiffusionError) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        if text == "constant" {
            self = .constant
            return
        }
        guard parts.count == 2, let gamma = Double(parts[1]), gamma > 0 else { throw .lossWeighting(text) }
        switch parts[0] {
        case "min-snr": self = .minSNR(gamma)
        case "soft-min-snr": self = .softMinSNR(gamma)
        default: throw .lossWeighting(text)
        }
    }

    package var description: String {
        switch self {
        case .constant: "constant"
        case .minSNR(let gamma): "min-snr:\(gamma.formatted)"
        case .softMinSNR(let gamma): "soft-min-snr:\(gamma.formatted)"
        }
    }

    /// Weight on the squared error of epsilon: that of x0 over SNR. An infinite gamma leaves exactly 1.
    package func onEpsilon(snr: Double) -> Double {
        switch self {
        case .constant: 1
        case .minSNR(let gamma): min(1, gamma / snr)
        case .softMinSNR(let gamma): 1 / (1 + snr / gamma)
        }
    }

    /// Weight on the squared error of the velocity of rectified flow, which is that of x0 over noiseScale^2 with noiseScale = 1 - t.
    ///
    /// - Parameter divisor: what the error of x0 was divided by, noiseScale or its clamped value.
    package func onVelocity(t: Double, divisor: Double) -> Double {
        let ratio = t / (1 - t)
        return switch self {
        case .constant: 1
        case .minSNR(let gamma): min(ratio * ratio, gamma) * divisor * divisor
        case .softMinSNR(let gamma): divisor * divisor / (1 / gamma + 1 / (ratio * ratio))
        }
    }
}

extension Double {
    /// 5 rather than 5.0.
    fileprivate var formatted: String { Int(exactly: self).map(String.init) ?? String(self) }
}
