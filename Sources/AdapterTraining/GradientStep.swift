import AdapterFormat
import DiTModel
import Diffusion
import TensorMath

/// One batch forward and back: loss and gradients of every trainable value, split over the pool by image.
///
/// Each lane takes every lanes-th chunk of the batch through the whole network and keeps gradients of its own, which are
/// then added in lane order: the same batch on the same number of lanes gives the same bytes.
package final class GradientStep {
    /// What the objective sees of one image: its index in the batch, the network's output, and where the gradient goes.
    package typealias ImageLoss = @Sendable (_ image: Int, _ output: Matrix, _ gradient: Matrix) -> Void

    private let model: DiT
    private let pool: ComputePool
    private let chunk: Int
    /// Per lane, a pass for each count of images up to the chunk, all over one memory.
    private let passes: [[Pass]]
    private let conditionings: [ConditioningState]
    private let outputs: [Matrix]
    private let outputGradients: [Matrix]
    /// Per lane; lane 0 holds the sum after a step.
    private let laneGradients: [TrainableValues]
    private let memories: [Memory]

    /// - Parameters:
    ///   - chunk: images of one pass; nil chooses enough for full-speed matrix products.
    package init(_ model: DiT, layout: TunableLayout, classes: Int, trainsWeights: Bool, pool: ComputePool, chunk: Int? = nil) {
        let configuration = model.configuration
        let images = chunk ?? max(1, 256 / configuration.tokens)
        let outCount = configuration.outChannels * configuration.inputSize * configuration.inputSize
        self.model = model
        self.pool = pool
        self.chunk = images
        let lanes = 0..<pool.lanes
        passes = lanes.map { _ in
            Pass.views(configuration, upTo: images, history: trainsWeights ? .all : .tunables, preset: model.preset)
        }
        var conditionings: [ConditioningState] = []
        var outputs: [Matrix] = []
        var outputGradients: [Matrix] = []
        var memories: [Memory] = []
        for _ in lanes {
            conditionings.append(ConditioningState(configuration, rows: images, backward: true))
            let memory = Memory(capacity: 2 * Memory.paddedCount(images * outCount))
            outputs.append(memory.take(images, outCount))
            outputGradients.append(memory.take(images, outCount))
            memories.append(memory)
        }
        self.conditionings = conditionings
        self.outputs = outputs
        self.outputGradients = outputGradients
        self.memories = memories
        laneGradients = lanes.map { _ in TrainableValues(layout, classes: classes, withWeights: trainsWeights) }
    }

    /// The sum over the batch, after `run`.
    package var gradients: TrainableValues { laneGradients[0] }

    /// - Parameters:
    ///   - x: (batch, C S S), the noised images.
    ///   - times: t per image, as the embedder takes it.
    ///   - classes: row of the class table per image, labels already dropped.
    ///   - loss: writes the gradient of one image's loss with respect to its output.
    package func run(x: Matrix, times: [Float], classes: [Int], tunables: Tunables, loss: ImageLoss) {
        let chunks = (x.rows + chunk - 1) / chunk
        pool.run { lane in
            let gradient = laneGradients[lane]
            gradient.zero()
            for index in stride(from: lane, to: chunks, by: pool.lanes) {
                let images = (index * chunk)..<min(x.rows, (index + 1) * chunk)
                runChunk(images, lane: lane, x: x, times: times, classes: classes, tunables: tunables, gradient: gradient, loss: loss)
            }
        }
        pool.run { lane in
            let range = pool.share(of: gradients.all.count, lane: lane)
            for other in laneGradients.dropFirst() { add(other.all.values(range), to: gradients.all.values(range)) }
        }
    }

    private func runChunk(
        _ images: Range<Int>, lane: Int, x: Matrix, times: [Float], classes: [Int], tunables: Tunables, gradient: TrainableValues,
        loss: ImageLoss
    ) {
        let pass = passes[lane][images.count - 1]
        let conditioning = conditionings[lane]
        let labels = Array(classes[images])
        let domains = [Tunables](repeating: tunables, count: images.count)
        let out = outputs[lane].rows(0..<images.count)
        let dOut = outputGradients[lane].rows(0..<images.count)
        Conditioning.forward(
            conditioning, times: Array(times[images]), classes: labels, tunables: domains, weights: model.weights, preset: model.preset)
        model.forward(pass, x: x.rows(images), conditioning: conditioning, tunables: tunables, into: out)
        for (i, image) in images.enumerated() { loss(image, out.row(i), dOut.row(i)) }
        model.backward(
            pass, dOut: dOut, conditioning: conditioning, classes: labels, tunables: tunables, gradients: gradient.tunables,
            weightGradients: gradient.weights)
    }

    /// Bytes of activations and gradients.
    package var bytes: Int { passes.reduce(0) { $0 + $1[chunk - 1].bytes } + laneGradients.reduce(0) { $0 + $1.all.count * 4 } }
}
