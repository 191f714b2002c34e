import TensorMath

/// The Fréchet figure: the squared Fréchet distance between Gaussians fitted to `FrozenFeatures` of a reference set and of a sample,
/// each feature in units of its deviation over the reference set: without that, three directions of large values drown the rest.
/// It is not the FID, whose features are another network's; it compares samples over one base and one reference set only.
///
/// A finite sample raises it: `floor` of a report says by how much, with real images in place of the sample's.
package struct FrechetFigure: Sendable, Hashable, Codable {
    package let distance: Estimate
    /// This sample's distance less the first sample's; its error is that of the pair, whose images are resampled together.
    package let change: Estimate?
    package let images, referenceImages: Int

    /// One figure per sample.
    /// - Parameters:
    ///   - reference: (n, D), features of real images.
    ///   - samples: each (m, D); where several have one length, row i of each comes from the same seed.
    package static func measure(reference: Matrix, samples: [Matrix], bootstrap: Bootstrap, pool: ThreadPool) -> [FrechetFigure] {
        let scale = ColumnStatistics(reference)
        let reference = scale.scaled(reference), samples = samples.map(scale.scaled)
        let values = distances(reference: GaussianStatistics(reference), samples: samples.map { GaussianStatistics($0) })
        // Row r holds the distances of resample r; threads write rows of their own.
        let memory = Memory(capacity: bootstrap.resamples * Memory.paddedCount(samples.count))
        let drawn = (0..<bootstrap.resamples).map { _ in memory.take(samples.count) }
        pool.forEach(bootstrap.resamples) { number in
            let real = GaussianStatistics(reference, at: bootstrap.positions(number, of: reference.rows, set: 1))
            let found = distances(
                reference: real, samples: samples.map { GaussianStatistics($0, at: bootstrap.positions(number, of: $0.rows)) })
            drawn[number].copy(from: found.map(Float.init))
        }
        let resampled = drawn.map(\.array)
        return samples.indices.map { sample in
            let own = resampled.map { Double($0[sample]) }
            let changes = resampled.map { Double($0[sample]) - Double($0[0]) }
            return FrechetFigure(
                distance: Estimate(value: values[sample], standardError: Bootstrap.deviation(own)),
                change: sample == 0
                    ? nil : Estimate(value: values[sample] - values[0], standardError: Bootstrap.deviation(changes)),
                images: samples[sample].rows, referenceImages: reference.rows)
        }
    }

    private static func distances(reference: GaussianStatistics, samples: [GaussianStatistics]) -> [Double] {
        let root = reference.covariance.squareRoot
        return samples.map { reference.squaredFrechetDistance(to: $0, root: root) }
    }
}
