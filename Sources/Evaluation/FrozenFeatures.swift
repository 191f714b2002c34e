import AdapterFormat
import DiTModel
import Diffusion
import TensorMath

/// Features of an image that no adapter changes: what leaves the frozen base's middle block, averaged over the tokens, for the
/// image mixed with a little noise that its position alone decides, under the base's own values and its null class.
package struct FrozenFeatures: Sendable {
    /// The block whose output is taken, counted from 0: of a base the last of the first half.
    package let block: Int
    /// t of the base's path.
    package let time: Double
    private let model: InferenceDiT
    private let tunables: Tunables
    private let objective: TrainingObjective
    private let nullClass: Int
    private let classPhrase, network: String
    /// Of the noise.
    package let seed: UInt64

    /// t of rectified flow; on the VP path, the last t at which noise is to data as here, a ninth, at most.
    static let linearTime = 0.9

    package init(_ model: InferenceDiT, base: BaseFile, convention: DiffusionConvention, seed: UInt64 = 0) {
        self.init(
            model, base: base, convention, block: max(0, model.configuration.depth / 2 - 1), time: convention.lowNoiseTime, network: "frozen base",
            seed: seed)
    }

    /// Those of a classifier of pictures: what leaves its last block, of the image as it is.
    package init(_ model: InferenceDiT, classifier: BaseFile) throws {
        let convention = try DiffusionConvention(
            pathNamed: classifier.card.path, predictionNamed: "x0", learnSigma: false, timeScale: classifier.card.timeScale)
        self.init(
            model, base: classifier, convention, block: model.configuration.depth - 1, time: 1, network: "classifier \(classifier.card.name)", seed: 0)
    }

    private init(
        _ model: InferenceDiT, base: BaseFile, _ convention: DiffusionConvention, block: Int, time: Double, network: String, seed: UInt64
    ) {
        let adapterSlots = AdapterSlots(base.layout, count: 1, classRows: base.classes.rows)
        adapterSlots.install(base.vector, base.classes.withMeanForNull, slot: 0)
        classPhrase = base.classes.hasNullRow ? "null class" : "the mean of the classes"
        tunables = adapterSlots.tunables[0]
        (self.model, self.block, self.time, self.network, self.seed) = (model, block, time, network, seed)
        nullClass = base.classes.nullClass
        objective = TrainingObjective(convention)
    }

    /// Values of one image's features.
    package var width: Int { model.configuration.hiddenSize }

    /// Side of the images, and their values, C S S.
    package var imageSize: Int { model.configuration.inputSize }
    package var imageCount: Int { model.configuration.inChannels * imageSize * imageSize }

    /// What they are, in a report's words.
    package var description: String {
        let t = objective.convention.path == .rectifiedFlow ? String(time) : String(Int(time))
        return "mean over the tokens of what leaves block \(block + 1) of \(model.configuration.depth) of the \(network), at t = \(t), \(classPhrase)"
    }

    /// - Parameter images: (n, C S S).
    /// - Returns: (n, D).
    package func measure(_ images: Matrix, pool: ThreadPool) -> Matrix {
        let c = model.configuration, outCount = c.outChannels * c.inputSize * c.inputSize
        let features = Memory(capacity: Memory.paddedCount(images.rows * width)).take(images.rows, width)
        pool.run { thread in
            // Time and class are the same for every image, so one row of conditioning serves them all.
            let conditioning = ConditioningState(c, rows: 1)
            model.condition(conditioning, times: [objective.embedderTime(time)], classes: [nullClass], tunables: [tunables])
            let pass = InferenceWorkspace(model)
            let memory = Memory(capacity: 2 * Memory.paddedCount(images.columns) + Memory.paddedCount(outCount))
            let noise = memory.take(images.columns), mixed = memory.take(images.columns), out = memory.take(outCount)
            for image in stride(from: thread, to: images.rows, by: pool.threadCount) {
                EvaluationStream.noise(seed: seed, image: image, bucket: 0xff).normals(into: noise)
                objective.mix(x0: images.row(image), noise: noise, t: time, into: mixed)
                // Stage 0 is what enters block 0.
                var stage = 0
                model.forward(pass, x: mixed, conditioning: conditioning, row: 0, tunables: tunables, into: out) { tokens in
                    if stage == block + 1 {
                        let pooled = features.row(image)
                        addColumnSums(of: tokens, to: pooled)
                        pooled.withMutableSpan { for i in $0.indices { $0[i] /= Float(tokens.rows) } }
                    }
                    stage += 1
                }
            }
        }
        return features
    }
}

extension DiffusionConvention {
    fileprivate var lowNoiseTime: Double {
        let (signal, noise) = (FrozenFeatures.linearTime, 1 - FrozenFeatures.linearTime)
        return switch path {
        case .rectifiedFlow: signal
        case .vp:
            Double(VPSchedule.training.alphasCumprod.lastIndex { (1 - $0) * signal * signal <= $0 * noise * noise } ?? 0)
        }
    }
}
