import AdapterFormat
import Diffusion
import DiTModel
import TensorMath

/// One batch forward and back: loss and gradients of every trainable value, split over the pool by image.
///
/// The batch is dealt in chunks to shards, each of which keeps gradients of its own; these are then added in the order of the
/// shards. So a batch on the same number of shards gives the same bytes, whatever number of threads or of processes did them.
package final class GradientStep {
    /// What the objective sees of one image: its index in the batch, the network's output, and where the gradient goes.
    package typealias ImageLoss = @Sendable (_ image: Int, _ output: Matrix, _ gradient: Matrix) -> Void

    private let model: DiT
    private let pool: ThreadPool
    private let chunk: Int
    private let shards: Int
    private let processes: ProcessGroup?
    /// Per thread, a pass for each count of images up to the chunk, all over one memory.
    private let passes: [[Pass]]
    private let conditionings: [ConditioningState]
    private let outputs: [Matrix]
    private let outputGradients: [Matrix]
    /// Of this process's shards; in a run of one process the first holds the sum after a step.
    private let shardGradients: [TrainableValues]
    /// Where several processes share a batch: a shard of another one on its way into the sum, and the sum.
    private let exchange: (visiting: TrainableValues, sum: TrainableValues)?

    /// - Parameters:
    ///   - trainsWeights: whether the matrices have gradients too.
    ///   - chunk: images of one pass; nil chooses enough for full-speed matrix products.
    ///   - shards: of all processes together; nil is one per thread. A multiple of the processes.
    ///   - processes: those that share the batch.
    ///   - route: middle blocks that only a part of the tokens goes through.
    package init(
        _ model: DiT, layout: TunableLayout, classes: Int, trainsWeights: Bool, pool: ThreadPool, chunk: Int? = nil, shards: Int? = nil,
        processes: ProcessGroup? = nil, route: TokenRoute? = nil
    ) {
        let configuration = model.configuration
        let images = chunk ?? Self.usualChunk(configuration)
        let outCount = configuration.outChannels * configuration.inputSize * configuration.inputSize
        let members = processes?.size ?? 1
        let shards = shards ?? pool.threadCount * members
        precondition(shards % members == 0, "\(shards) shards on \(members) processes")
        self.model = model
        self.pool = pool
        self.chunk = images
        self.shards = shards
        self.processes = processes
        let threads = 0..<min(pool.threadCount, shards / members)
        let saved: SavedActivations = trainsWeights || layout.lowRank != nil ? .all : .tunables
        passes = threads.map { _ in Pass.views(model, upTo: images, saved: saved, route: route) }
        var conditionings: [ConditioningState] = []
        var outputs: [Matrix] = []
        var outputGradients: [Matrix] = []
        for _ in threads {
            conditionings.append(ConditioningState(configuration, rows: images, backward: true))
            let memory = Memory(capacity: 2 * Memory.paddedCount(images * outCount))
            outputs.append(memory.take(images, outCount))
            outputGradients.append(memory.take(images, outCount))
        }
        self.conditionings = conditionings
        self.outputs = outputs
        self.outputGradients = outputGradients
        let values = { TrainableValues(layout, classes: classes, withWeights: trainsWeights) }
        shardGradients = (0..<(shards / members)).map { _ in values() }
        exchange = members > 1 ? (values(), values()) : nil
    }

    /// Images of one pass: enough for full-speed matrix products.
    package static func usualChunk(_ configuration: DiTConfiguration) -> Int { max(1, 256 / configuration.tokens) }

    /// The sum over the batch, after `run` and `finish`.
    package var gradients: TrainableValues { exchange?.sum ?? shardGradients[0] }

    /// Takes the images of this process's shards forward and back.
    /// - Parameters:
    ///   - x: (batch, C S S), the noised images.
    ///   - times: t per image, as the embedder takes it.
    ///   - classes: row of the class table per image, labels already dropped.
    ///   - kept: tokens per image that go through the routed blocks, where there is a route.
    ///   - adding: to the gradients of the batches before.
    ///   - inputGradient: (batch, C S S), overwritten with the gradient at `x`, for a loss through a frozen network.
    ///   - loss: writes the gradient of one image's loss with respect to its output.
    package func run(
        x: Matrix, times: [Float], classes: [Int], tunables: Tunables, kept: [[Int]] = [], adding: Bool = false, inputGradient: Matrix? = nil,
        loss: ImageLoss
    ) {
        let chunks = (x.rows + chunk - 1) / chunk
        let first = (processes?.rank ?? 0) * shardGradients.count
        pool.run { thread in
            guard thread < passes.count else { return }
            for shard in stride(from: thread, to: shardGradients.count, by: passes.count) {
                let gradient = shardGradients[shard]
                if !adding { gradient.zero() }
                for index in stride(from: first + shard, to: chunks, by: shards) {
                    let images = (index * chunk)..<min(x.rows, (index + 1) * chunk)
                    runChunk(
                        images, thread: thread, x: x, times: times, classes: classes, tunables: tunables, kept: kept, gradient: gradient,
                        inputGradient: inputGradient, loss: loss)
                }
            }
        }
    }

    /// Adds the shards up, in their order.
    package func finish() {
        if let processes, let exchange {
            for shard in 0..<shards {
                let owner = shard / shardGradients.count
                let source = owner == processes.rank ? shardGradients[shard % shardGradients.count] : exchange.visiting
                processes.broadcast(source.all, from: owner)
                if shard == 0 { exchange.sum.all.copy(from: source.all) } else { add(source.all, to: exchange.sum.all) }
            }
            return
        }
        pool.run { thread in
            let range = pool.share(of: gradients.all.count, thread: thread)
            for other in shardGradients.dropFirst() { add(other.all.values(range), to: gradients.all.values(range)) }
        }
    }

    private func runChunk(
        _ images: Range<Int>, thread: Int, x: Matrix, times: [Float], classes: [Int], tunables: Tunables, kept: [[Int]],
        gradient: TrainableValues, inputGradient: Matrix?, loss: ImageLoss
    ) {
        let pass = passes[thread][images.count - 1]
        let conditioning = conditionings[thread]
        let labels = Array(classes[images])
        let kept = kept.isEmpty ? [] : Array(kept[images])
        let domains = [Tunables](repeating: tunables, count: images.count)
        let out = outputs[thread].rows(0..<images.count)
        let dOut = outputGradients[thread].rows(0..<images.count)
        Conditioning.forward(
            conditioning, times: Array(times[images]), classes: labels, tunables: domains, weights: model.weights, preset: model.preset)
        model.forward(pass, x: x.rows(images), conditioning: conditioning, tunables: tunables, kept: kept, into: out)
        for (i, image) in images.enumerated() { loss(image, out.row(i), dOut.row(i)) }
        model.backward(
            pass, dOut: dOut, conditioning: conditioning, classes: labels, tunables: tunables, kept: kept, gradients: gradient.tunables,
            weightGradients: gradient.weights, dInput: inputGradient?.rows(images))
    }

    /// Bytes of activations and gradients.
    package var bytes: Int { passes.reduce(0) { $0 + $1[chunk - 1].bytes } + shardGradients.reduce(0) { $0 + $1.all.count * 4 } }
}

/// AdamW's step over the ranges that move, and the average after it, split over the pool.
/// - Parameters:
///   - offset: of the values and moments behind their gradients, where there are several vectors and gradients of one.
///   - step: counted from 1.
///   - decay: of the average.
package func takeStep(
    _ values: TrainableValues, m: TrainableValues, v: TrainableValues, average: TrainableValues, gradients: TrainableValues, moved: [Range<Int>],
    offset: Int = 0, step: Int, _ optimiser: AdamWSettings, gradientScale: Float = 1, decay: Double, pool: ThreadPool
) {
    pool.run { thread in
        for range in moved {
            let share = pool.share(of: range.count, thread: thread)
            let slopes = (range.lowerBound + share.lowerBound)..<(range.lowerBound + share.upperBound)
            let part = (slopes.lowerBound + offset)..<(slopes.upperBound + offset)
            adamW(
                values.all.values(part), m: m.all.values(part), v: v.all.values(part), g: gradients.all.values(slopes), step: step, optimiser,
                gradientScale: gradientScale)
            updateAverage(average.all.values(part), with: values.all.values(part), decay: decay)
        }
    }
}
