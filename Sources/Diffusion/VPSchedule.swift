import Foundation

/// DiT's tables of the variance-preserving path over a chosen set of its 1000 steps (`DiT.md`, "Noise schedule").
///
/// Entry k of a table belongs to step `timesteps[k]`; the network is always given `timesteps[k]`.
package struct VPSchedule: Sendable {
    package static let trainingSteps = 1000

    /// The chosen steps, rising.
    package let timesteps: [Int]
    package let betas: [Double]
    /// abar, the product of 1 - beta.
    package let alphasCumprod: [Double]
    /// abar of the step before, 1 before the first.
    package let alphasCumprodPrevious: [Double]
    /// log of the true posterior's variance, entry 0 replaced by entry 1.
    package let posteriorLogVariance: [Double]
    /// The posterior mean is c1 x0 + c2 x_t.
    package let posteriorMeanX0: [Double]
    package let posteriorMeanXt: [Double]

    /// All 1000 steps, as training sees them.
    package static let training = VPSchedule(timesteps: Array(0..<trainingSteps))

    /// - Parameter timesteps: rising, within the 1000.
    package init(timesteps: [Int]) {
        self.timesteps = timesteps
        var betas: [Double] = []
        var before = 1.0
        for step in timesteps {
            let abar = VPSchedule.baseAlphasCumprod[step]
            betas.append(1 - abar / before)
            before = abar
        }
        var cumprod: [Double] = []
        var product = 1.0
        for beta in betas {
            product *= 1 - beta
            cumprod.append(product)
        }
        let previous = [1.0] + cumprod.dropLast()
        let variance = betas.indices.map { betas[$0] * (1 - previous[$0]) / (1 - cumprod[$0]) }
        self.betas = betas
        alphasCumprod = cumprod
        alphasCumprodPrevious = previous
        // A single step has no second entry; its posterior is a point, and no noise is added there.
        posteriorLogVariance = betas.indices.map { log(variance[$0 == 0 ? min(1, variance.count - 1) : $0]) }
        posteriorMeanX0 = betas.indices.map { betas[$0] * previous[$0].squareRoot() / (1 - cumprod[$0]) }
        posteriorMeanXt = betas.indices.map { (1 - previous[$0]) * (1 - betas[$0]).squareRoot() / (1 - cumprod[$0]) }
    }

    /// abar of beta = linspace(1e-4, 0.02, 1000).
    static let baseAlphasCumprod: [Double] = {
        let first = 1e-4
        let last = 0.02
        let step = (last - first) / Double(trainingSteps - 1)
        var product = 1.0
        return (0..<trainingSteps).map { k in
            product *= 1 - (k == trainingSteps - 1 ? last : Double(k) * step + first)
            return product
        }
    }()
}
