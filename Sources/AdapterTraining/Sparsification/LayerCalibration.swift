import AdapterFormat
import DiTModel
import Diffusion
import TensorMath

/// What the blocks' layers of a base are multiplied by while it samples: for each the sum of x x^T over every token of every call, which is up
/// to a factor the second derivative of the squared error of its output in any row of its matrix (OBS; SparseGPT, arXiv 2301.00774; for
/// diffusion transformers OBS-Diff, arXiv 2510.06751, which weighs early calls more: here all count the same).
///
/// No pictures are needed: images are sampled from the base itself, each from the noise of (seed, its number), without guidance, every eighth
/// without a class where the base has a class for none. The same base, domains and seed give the same sums, whatever the number of threads.
package struct LayerCalibration {
    package struct Settings: Sendable {
        /// Images, dealt to the subjects in turn.
        package var images = 64
        package var seed: UInt64 = 1

        package init() {}
    }

    /// Values that images are sampled with: the base's own, or a domain's.
    package struct Subject: Sendable {
        let vector: TunableVector
        let classes: ClassTable

        package init(_ vector: TunableVector, _ classes: ClassTable) { (self.vector, self.classes) = (vector, classes) }
    }

    /// Per block and layer, (inputs, inputs).
    package let moments: [[LowRank.Linear: Matrix]]
    /// Tokens that went into each.
    package let tokens: Int

    /// - Parameters:
    ///   - model: over the base's matrices, in float32.
    ///   - plan: the sampling; every call of it is looked at.
    ///   - onProgress: share that is done.
    package init(
        _ model: DiT, layout: TunableLayout, _ subjects: [Subject], plan: SamplingPlan, _ settings: Settings, pool: ThreadPool,
        onProgress: (Double) -> Void = { _ in }
    ) {
        precondition(!subjects.isEmpty && settings.images > 0)
        let c = model.configuration, sides = LowRank.Linear.allCases.map { $0.inputs(c) }
        let memory = Memory(capacity: c.depth * sides.reduce(0) { $0 + Memory.paddedCount($1 * $1) })
        let moments = (0..<c.depth).map { _ in
            Dictionary(uniqueKeysWithValues: zip(LowRank.Linear.allCases, sides).map { ($0, memory.take($1, $1)) })
        }
        let latentCount = c.inChannels * c.inputSize * c.inputSize, outCount = c.outChannels * c.inputSize * c.inputSize
        let images = (0..<settings.images).map { image in
            let subject = image % subjects.count, classes = subjects[subject].classes, own = image / subjects.count
            let row = classes.hasNullRow && own % 8 == 7 ? classes.nullClass : own % max(1, classes.names.count)
            return Image(subject: subject, classRow: row, state: SamplerState(plan, count: latentCount, seed: settings.seed, image: UInt64(image)))
        }
        // A pass is of one subject, and goes on one thread; the sums take the passes in their order.
        let chunk = GradientStep.usualChunk(c)
        let chunks = subjects.indices.flatMap { subject in
            let own = images.filter { $0.subject == subject }
            return stride(from: 0, to: own.count, by: chunk).map { Array(own[$0..<min(own.count, $0 + chunk)]) }
        }
        let rows = subjects.map(\.classes.rows).max() ?? 1
        let values = subjects.map { subject in
            let values = TrainableValues(layout, classes: rows - 1, withWeights: false)
            values.vector.copy(from: subject.vector.values)
            values.classTable.values(0..<subject.classes.values.count).copy(from: subject.classes.values)
            return values.tunables
        }
        let workers = (0..<min(pool.threadCount, chunks.count)).map { _ in Worker(model, images: chunk, latentCount: latentCount, outCount: outCount) }
        let linears = LowRank.Linear.allCases
        for call in 0..<plan.evaluations {
            for first in stride(from: 0, to: chunks.count, by: workers.count) {
                let now = Array(chunks[first..<min(chunks.count, first + workers.count)])
                pool.run { thread in
                    guard thread < now.count else { return }
                    workers[thread].run(now[thread], call: call, plan, values[now[thread][0].subject])
                }
                pool.forEach(c.depth * linears.count) { index in
                    let (block, linear) = (index / linears.count, linears[index % linears.count])
                    guard let sum = moments[block][linear] else { return }
                    for (worker, images) in zip(workers, now) {
                        let x = worker.passes[images.count - 1].activations.blocks[block].input(of: linear)
                        multiply(.transposed(x), .plain(x), into: sum, adding: true)
                    }
                }
                onProgress((Double(call) + Double(first + now.count) / Double(chunks.count)) / Double(plan.evaluations))
            }
        }
        self.moments = moments
        tokens = settings.images * plan.evaluations * c.tokens
    }

    private struct Image {
        let subject: Int
        let classRow: Int
        let state: SamplerState
    }

    /// What one thread needs to take a few images through a call.
    private struct Worker {
        let passes: [Pass]
        private let model: DiT
        private let conditioning: ConditioningState
        private let x, out: Matrix

        init(_ model: DiT, images: Int, latentCount: Int, outCount: Int) {
            self.model = model
            passes = Pass.views(model, upTo: images, saved: .all)
            conditioning = ConditioningState(model.configuration, rows: images)
            let memory = Memory(capacity: Memory.paddedCount(images * latentCount) + Memory.paddedCount(images * outCount))
            x = memory.take(images, latentCount)
            out = memory.take(images, outCount)
        }

        func run(_ images: [Image], call: Int, _ plan: SamplingPlan, _ tunables: Tunables) {
            for (row, image) in images.enumerated() { x.row(row).copy(from: image.state.latent) }
            let count = images.count, out = out.rows(0..<count)
            Conditioning.forward(
                conditioning, times: [Float](repeating: plan.embedderTime(call), count: count), classes: images.map(\.classRow),
                tunables: [Tunables](repeating: tunables, count: count), weights: model.weights, preset: model.preset)
            model.forward(passes[count - 1], x: x.rows(0..<count), conditioning: conditioning, tunables: tunables, into: out)
            for (row, image) in images.enumerated() { image.state.advance(out.row(row)) }
        }
    }
}
