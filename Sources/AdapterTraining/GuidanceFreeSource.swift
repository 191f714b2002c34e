import AdapterFormat
import DiTModel
import Diffusion
import ImageFiles
import TensorMath

/// Pictures from which a domain learns together with its guidance vector (GFT, arXiv 2501.15420; `DiffFit.md`, "Distilled vectors").
///
/// Of two vectors the first is the domain's, tau, the second base + delta. Each batch is for one guidance scale w, drawn between 1 and the
/// largest: the network is shown tau + lambda delta with lambda = (w - 1) / (largest - 1), and what is compared with the picture is
/// beta o + (1 - beta) u, with beta = 1 / w and u what tau alone predicts for no class, without a gradient. So o becomes what a guided pair
/// would have given, and the weight of delta the dial that guidance vectors have.
package final class GuidanceFreeSource: TrainingSource {
    private let pictures: PictureSource
    private let largest: Float
    private let base: [Float]
    private let layout: TunableLayout
    private let tau: Matrix
    private let tunables: Tunables
    /// What is compared with the picture, and the predictions for no class: a line per image.
    private let mixed, unconditional: Matrix
    private let batch: DiTBatch

    /// Share of the batches at scale 1, in which labels give way to the null class.
    static let unguidedShare: Float = 0.3

    /// - Parameters:
    ///   - largest: guidance scale of the vector at weight 1, above 1.
    ///   - base: what differences are taken against.
    ///   - classTable: the one that the run trains.
    package init(
        _ data: TrainingData, objective: TrainingObjective, settings: TrainingSettings, largest: Float, base: TunableVector, layout: TunableLayout, model: DiT,
        classTable: Matrix, pool: ThreadPool
    ) throws {
        pictures = PictureSource(data, objective: objective, settings: settings, pool: pool)
        self.largest = largest
        self.base = base.values
        self.layout = layout
        let c = model.configuration, rows = settings.batch, count = c.outChannels * c.inputSize * c.inputSize
        let memory = Memory(capacity: Memory.paddedCount(layout.count) + 2 * Memory.paddedCount(rows * count))
        tau = memory.take(layout.count)
        tunables = Tunables(layout, values: tau, classTable: classTable)
        mixed = memory.take(rows, count)
        unconditional = memory.take(rows, count)
        batch = DiTBatch(
            try InferenceDiT(model), adapterSlots: AdapterSlots(TunableLayout(c), count: 1, classRows: 1), rows: rows, pool: pool)
    }

    package var convention: DiffusionConvention { pictures.convention }
    package var summary: String { pictures.summary }
    package var digest: Digest { pictures.digest }
    package var identity: String { "\(pictures.digest) guidance \(largest)" }
    package var shown: (name: String, value: String) { ("the pictures or --guidance-vector", "\(pictures.shown.value), guidance to \(largest)") }
    package var imageCount: Int { pictures.imageCount }
    package var classNames: [String] { pictures.classNames }
    package var classCount: Int { pictures.classCount }
    package var vectors: Int { 2 }
    package var updates: Int { 1 }
    package var facts: any Encodable { pictures.facts }
    package var hasHeldOut: Bool { pictures.hasHeldOut }

    /// The scale of a step's batch.
    private func scale(_ step: Int) -> Float {
        let draws = Philox(seed: pictures.settings.seed, stream: 15 << 58 | UInt64(step))
        return draws.uniform(0) < Self.unguidedShare ? 1 : 1 + (largest - 1) * draws.uniform(4)
    }

    private func weight(_ step: Int) -> Float { (scale(step) - 1) / (largest - 1) }

    package func moves(ofUpdate update: Int, step: Int) -> [VectorMove] {
        let weight = weight(step)
        return [VectorMove(vector: 0)] + (weight > 0 ? [VectorMove(vector: 1, gradient: weight)] : [])
    }

    package func batch(step: Int, update: Int, images: Range<Int>, values: TrainableValues, pool: ThreadPool) -> TrainingBatch {
        let weight = weight(step), beta = 1 / scale(step), rows = images.count
        let (times, labels) = pictures.draw(
            step: step, images: images, labelDropout: weight > 0 ? 0 : min(1, pictures.settings.labelDropout / Self.unguidedShare), pool: pool)
        let embedderTimes = times.map(pictures.objective.embedderTime)
        if weight > 0 {
            let table = values.classTable, null = table.row(table.rows - 1).array
            batch.adapterSlots.install(TunableVector(values.vectors[0].array, layout: layout), ClassTable(names: [], values: null), slot: 0)
            batch.forward(
                x: pictures.xt.rows(0..<rows), times: embedderTimes, classes: [Int](repeating: 0, count: rows), slots: [Int](repeating: 0, count: rows),
                into: unconditional.rows(0..<rows))
        }
        tau.copy(from: values.vectors[0])
        tau.withMutableSpan { shown in
            values.vectors[1].withSpan { other in for i in shown.indices { shown[i] += weight * (other[i] - (i < base.count ? base[i] : 0)) } }
        }
        return TrainingBatch(x: pictures.xt, times: embedderTimes, classes: labels, tunables: tunables) {
            [objective = pictures.objective, x0 = pictures.x0, noise = pictures.noise, xt = pictures.xt, mixed, unconditional] image, output, scale, gradient in
            var compared = output
            if weight > 0 {
                compared = mixed.row(image)
                compared.copy(from: unconditional.row(image))
                compared.withMutableSpan { sum in output.withSpan { output in for i in sum.indices { sum[i] = beta * output[i] + (1 - beta) * sum[i] } } }
            }
            let loss = objective.loss(
                output: compared, x0: x0.row(image), noise: noise.row(image), xt: xt.row(image), t: times[image],
                scale: weight > 0 ? beta * scale : scale, gradient: gradient)
            return loss.total
        }
    }

    package func heldOutError(_ model: DiT, _ values: TrainableValues, pool: ThreadPool) throws -> Float {
        try pictures.heldOutError(model, values, pool: pool)
    }

    package func sheet(_ model: DiT, _ values: TrainableValues, layout: TunableLayout, pool: ThreadPool) throws -> RGBImage? {
        try pictures.sheet(model, values, layout: layout, pool: pool)
    }
}
