import AdapterFormat
import Diffusion
import Foundation
import Autoencoder
import TensorMath

extension TrainingData {
    /// The same images for a network that sees their latents.
    package func seen(through latents: LatentTable) -> TrainingData {
        var data = self
        data.latents = latents
        return data
    }

    /// Number of values of an image as the network sees it.
    package var valueCount: Int { latents?.count ?? 3 * size * size }

    /// Image `index` as one step of training takes it, (C S S): its pixels, or a fresh sample of its posterior.
    package func draw(_ index: Int, flipped: Bool, _ draws: TrainingDraws, into x: Matrix) {
        guard let latents else { return copy(index, flipped: flipped, into: x) }
        draws.posteriorNoise(into: x)
        latents.sample(index, flipped: flipped, into: x)
    }
}

/// Posteriors of a data set's images in memory, in the images' order: straight, and mirrored where `orientations` is 2.
package struct LatentTable: Sendable {
    /// Values of one latent, (C h w).
    package let count: Int
    package let orientations: Int
    /// What encoded them.
    let autoencoder: Digest
    private let scalingFactor, shiftFactor: Float
    private var means: [Float] = []
    private var deviations: [Float] = []

    init(count: Int, orientations: Int, _ format: LatentFormat, autoencoder: Digest) {
        self.count = count
        self.orientations = orientations
        self.autoencoder = autoencoder
        scalingFactor = format.scalingFactor
        shiftFactor = format.shiftFactor
    }

    mutating func append(_ posteriors: [LatentPosterior]) {
        for posterior in posteriors {
            means += posterior.mean
            deviations += posterior.logVariance.map { Foundation.exp($0 / 2) }
        }
    }

    /// A sample of image `index` in the diffusion network's scale: (mean + deviation noise - shift) scale.
    /// - Parameter x: holds standard normal noise (C h w), and is overwritten with the sample.
    package func sample(_ index: Int, flipped: Bool, into x: Matrix) {
        let start = (index * orientations + (flipped ? orientations - 1 : 0)) * count
        x.withMutableSpan { x in
            for i in 0..<count { x[i] = (means[start + i] + deviations[start + i] * x[i] - shiftFactor) * scalingFactor }
        }
    }

    /// The same images chosen and ordered anew, as a data set's part is.
    package func choosing(_ images: [Int]) -> LatentTable {
        var table = self
        let each = orientations * count
        table.means = images.flatMap { means[($0 * each)..<(($0 + 1) * each)] }
        table.deviations = images.flatMap { deviations[($0 * each)..<(($0 + 1) * each)] }
        return table
    }
}
