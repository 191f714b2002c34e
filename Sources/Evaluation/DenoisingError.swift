import AdapterFormat
import DiTModel
import Diffusion
import TensorMath

/// The error of a network on images that it was not trained on, in the base's own objective and without any loss weight: epsilon,
/// or the velocity of rectified flow, after `TrainingObjective`.
///
/// Every image meets the same timesteps and the same noise whatever is measured, so two adapters, or two precisions of one, are compared
/// in pairs. The timesteps are the middles of equal parts of the path.
package struct DenoisingError: Sendable, Hashable, Codable {
    package struct Bucket: Sendable, Hashable, Codable {
        /// t in the path's own unit.
        package let time: Double
        package let error: Estimate
    }

    package let mean: Estimate
    package let buckets: [Bucket]
    /// Mean over the buckets of each image, for comparisons in pairs.
    package let perImage: [Double]

    package static let usualBuckets = 16

    enum CodingKeys: String, CodingKey { case mean, buckets }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        (mean, buckets, perImage) = (try values.decode(Estimate.self, forKey: .mean), try values.decode([Bucket].self, forKey: .buckets), [])
    }

    /// - Parameter errors: (images, buckets), mean squared errors.
    init(_ errors: Matrix, times: [Double], bootstrap: Bootstrap) {
        let values = errors.array.map(Double.init), count = times.count
        let images = 0..<errors.rows
        buckets = times.indices.map { bucket in
            Bucket(time: times[bucket], error: bootstrap.mean(images.map { values[$0 * count + bucket] }))
        }
        perImage = images.map { image in values[(image * count)..<((image + 1) * count)].reduce(0, +) / Double(count) }
        mean = bootstrap.mean(perImage)
    }

    /// This error less another's on the same images, image by image.
    package func change(from other: DenoisingError, bootstrap: Bootstrap) -> Estimate {
        precondition(perImage.count == other.perImage.count, "\(perImage.count) images against \(other.perImage.count)")
        return bootstrap.mean(zip(perImage, other.perImage).map { $0 - $1 })
    }

    /// - Parameters:
    ///   - objective: the base's; its loss weighting is passed over.
    ///   - tunables: the domain; labels of `images` are rows of its class table.
    ///   - buckets: at most 255.
    ///   - seed: of the noise.
    package static func measure(
        _ model: InferenceDiT, tunables: Tunables, objective: TrainingObjective, images: LabelledLatents, buckets: Int = usualBuckets,
        bootstrap: Bootstrap, seed: UInt64 = 0, pool: ThreadPool
    ) -> DenoisingError {
        precondition((1...255).contains(buckets) && images.count > 0, "\(buckets) buckets, \(images.count) images")
        let times = (0..<buckets).map { objective.convention.path.time(atShare: (Double($0) + 0.5) / Double(buckets)) }
        let errors = Memory(capacity: Memory.paddedCount(images.count * buckets)).take(images.count, buckets)
        pool.run { thread in
            let image = HeldOutImage(model, tunables: tunables, objective: objective, times: times)
            for index in stride(from: thread, to: images.count, by: pool.threadCount) {
                image.measure(images.values.row(index), label: images.labels[index], into: errors.row(index)) {
                    EvaluationStream.noise(seed: seed, image: index, bucket: $0)
                }
            }
        }
        return DenoisingError(errors, times: times, bootstrap: bootstrap)
    }
}

/// The memory of one thread: an image at every timestep of the grid.
private struct HeldOutImage {
    private let model: InferenceDiT
    private let tunables: Tunables
    private let objective: TrainingObjective
    private let times: [Double]
    private let conditioning: ConditioningState
    private let pass: InferenceWorkspace
    private let noise, mixed: Matrix  // (C S S)
    private let out, slope: Matrix  // (Cout S S)

    init(_ model: InferenceDiT, tunables: Tunables, objective: TrainingObjective, times: [Double]) {
        let c = model.configuration, plane = c.inputSize * c.inputSize
        let (inCount, outCount) = (c.inChannels * plane, c.outChannels * plane)
        (self.model, self.tunables, self.objective, self.times) = (model, tunables, objective, times)
        conditioning = ConditioningState(c, rows: times.count)
        pass = InferenceWorkspace(model)
        let memory = Memory(capacity: 2 * Memory.paddedCount(inCount) + 2 * Memory.paddedCount(outCount))
        noise = memory.take(inCount)
        mixed = memory.take(inCount)
        out = memory.take(outCount)
        slope = memory.take(outCount)
    }

    func measure(_ x0: Matrix, label: Int, into errors: Matrix, noiseOf: (_ bucket: Int) -> Philox) {
        model.condition(
            conditioning, times: times.map(objective.embedderTime), classes: times.map { _ in label }, tunables: times.map { _ in tunables })
        for (bucket, t) in times.enumerated() {
            noiseOf(bucket).normals(into: noise)
            objective.mix(x0: x0, noise: noise, t: t, into: mixed)
            model.forward(pass, x: mixed, conditioning: conditioning, row: bucket, tunables: tunables, into: out)
            errors[0, bucket] =
                objective.loss(output: out, x0: x0, noise: noise, xt: mixed, t: t, scale: 1, gradient: slope).mse
        }
    }
}
