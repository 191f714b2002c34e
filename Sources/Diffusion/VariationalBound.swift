import Foundation

/// DiT's learned-variance term at one training step (`DiT.md`, "Training loss"): the mean is held fixed, the variance learns.
///
/// Arithmetic is float32 throughout, as the reference has it: at step 0 the rounding of the tails is part of its numbers.
struct VariationalBound {
    private let step: Int
    private let recipAbar, recipAbarLess1, meanX0, meanXt, trueLog, largeLog: Float

    init(step: Int) {
        let schedule = VPSchedule.training
        let abar = schedule.alphasCumprod[step]
        self.step = step
        recipAbar = Float((1 / abar).squareRoot())
        recipAbarLess1 = Float((1 / abar - 1).squareRoot())
        meanX0 = Float(schedule.posteriorMeanX0[step])
        meanXt = Float(schedule.posteriorMeanXt[step])
        trueLog = Float(schedule.posteriorLogVariance[step])
        largeLog = Float(log(schedule.betas[step]))
    }

    /// Bits per value, and the gradient of the second half of the output; the first half gets none from here.
    func loss(
        output: Span<Float>, x0: Span<Float>, xt: Span<Float>, scale: Float, gradient: inout MutableSpan<Float>
    ) -> Float {
        let count = x0.count
        let perValue = 1 / (Float(count) * Float(log(2.0)))
        let slope = scale * perValue * (largeLog - trueLog) / 2
        var sum = 0.0
        for i in 0..<count {
            let fraction = (output[count + i] + 1) / 2
            let logVariance = fraction * largeLog + (1 - fraction) * trueLog
            let mean = meanX0 * (recipAbar * xt[i] - recipAbarLess1 * output[i]) + meanXt * xt[i]
            let (value, derivative) =
                step == 0
                ? decoderLoss(x0[i], mean: mean, logVariance: logVariance)
                : divergence(meanX0 * x0[i] + meanXt * xt[i], mean: mean, logVariance: logVariance)
            sum += Double(value)
            gradient[count + i] = slope * derivative
        }
        return Float(sum) * perValue
    }

    /// KL of the true posterior against the predicted one, in nats, and d / d logVariance.
    private func divergence(_ trueMean: Float, mean: Float, logVariance: Float) -> (Float, Float) {
        let ratio = exp(trueLog - logVariance)
        let squares = (trueMean - mean) * (trueMean - mean) * exp(-logVariance)
        return (0.5 * (-1 + logVariance - trueLog + ratio + squares), 0.5 * (1 - ratio - squares))
    }

    /// Negative log likelihood of x0 in a bin of 1/255 to each side, in nats, and d / d logVariance.
    private func decoderLoss(_ x0: Float, mean: Float, logVariance: Float) -> (Float, Float) {
        let inverse = exp(-0.5 * logVariance)
        let upper = inverse * (x0 - mean + 1 / 255)
        let lower = inverse * (x0 - mean - 1 / 255)
        let (below, belowSlope) = normalCDF(upper)
        let (under, underSlope) = normalCDF(lower)
        // d upper / d logVariance = -upper / 2, and so for lower.
        let probability: Float
        let slope: Float
        if x0 < -0.999 {
            (probability, slope) = (below, -0.5 * upper * belowSlope)
        } else if x0 > 0.999 {
            (probability, slope) = (1 - under, 0.5 * lower * underSlope)
        } else {
            (probability, slope) = (below - under, -0.5 * (upper * belowSlope - lower * underSlope))
        }
        let least: Float = 1e-12
        return probability < least ? (-log(least), 0) : (-log(probability), -slope / probability)
    }

    /// The reference's tanh form of the normal distribution function, and its derivative.
    private func normalCDF(_ z: Float) -> (Float, Float) {
        let root = Float((2 / Double.pi).squareRoot())
        let bend = tanh(root * (z + 0.044715 * z * z * z))
        return (0.5 * (1 + bend), 0.5 * (1 - bend * bend) * root * (1 + 3 * 0.044715 * z * z))
    }
}
