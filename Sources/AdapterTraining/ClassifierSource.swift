import AdapterFormat
import DiTModel
import Diffusion
import Evaluation
import ImageFiles
import TensorMath

/// Labelled pictures to be told apart, without noise: what a classifier is trained on (`ClassHead`).
///
/// Pictures are shifted by up to an eighth of their side, and mirrored where that is asked for.
package final class ClassifierSource: LabelledPictures {
    package let convention: DiffusionConvention
    let data, training: TrainingData
    private let heldOut: LabelledLatents?
    private let settings: TrainingSettings
    private let head: ClassHead
    /// The pictures, before and after they are shifted, and scratch: a line per image.
    private let pictures, shifted, scratch: Matrix

    /// What a card says in place of a prediction.
    package static let prediction = "classes"
    /// Of the held-out pictures at most so many are measured, taken evenly.
    private static let heldOutImages = 2000

    /// - Parameter convention: how time is embedded; pictures are shown as data without noise.
    package init(_ data: TrainingData, _ configuration: DiTConfiguration, convention: DiffusionConvention, settings: TrainingSettings, pool: ThreadPool) {
        self.data = data
        self.convention = convention
        self.settings = settings
        head = ClassHead(configuration)
        let (training, heldOut) = data.split(holdingOut: settings.validationShare, seed: settings.seed)
        self.training = training
        self.heldOut = heldOut.map { data in
            let count = min(Self.heldOutImages, data.count)
            return data.labelledLatents((0..<count).map { $0 * data.count / count }, pool: pool)
        }
        let (rows, size) = (settings.batch, data.valueCount)
        let memory = Memory(capacity: 2 * Memory.paddedCount(rows * size) + Memory.paddedCount(rows * head.scratchCount))
        pictures = memory.take(rows, size)
        shifted = memory.take(rows, size)
        scratch = memory.take(rows, head.scratchCount)
    }

    package var prediction: String { Self.prediction }
    package var hasHeldOut: Bool { heldOut != nil }

    package func batch(step: Int, update: Int, images: Range<Int>, values: TrainableValues, pool: ThreadPool) -> TrainingBatch {
        let draws = images.map { TrainingDraws(seed: settings.seed, step: step, image: $0) }
        let items = draws.map { training.item(at: $0.item, balanced: settings.balancesClasses) }
        let labels = items.map { training.labels[$0] }, side = data.size, reach = side / 8
        pool.forEach(images.count) { image in
            let draw = draws[image]
            training.copy(items[image], flipped: settings.flips && draw.flips, into: pictures.row(image))
            let shift = { (axis: Int) in Int(draw.token(axis) * Float(2 * reach + 1)) - reach }
            pictures.row(image).copy(shiftedBy: (shift(0), shift(1)), side: side, into: shifted.row(image))
        }
        return TrainingBatch(
            x: shifted, times: [Float](repeating: convention.embedderTime(1), count: images.count),
            classes: [Int](repeating: classCount, count: images.count), tunables: values.tunables
        ) { [head, scratch] image, output, scale, gradient in
            head.loss(output, label: labels[image], scale: scale, scratch: scratch.row(image), gradient: gradient)
        }
    }

    /// The share of held-out pictures that get a wrong class.
    package func heldOutError(_ model: DiT, _ values: TrainableValues, pool: ThreadPool) throws -> Float {
        guard let heldOut else { return .nan }
        let c = model.configuration, rows = min(64, heldOut.count), layout = TunableLayout(c)
        let adapterSlots = AdapterSlots(layout, count: 1, classRows: classCount + 1)
        adapterSlots.install(
            TunableVector(values.vector.array, layout: layout), ClassTable(names: classNames, values: values.classTable.array), slot: 0)
        let batch = DiTBatch(try InferenceDiT(model), adapterSlots: adapterSlots, rows: rows, pool: pool)
        let count = c.outChannels * c.inputSize * c.inputSize
        let memory = Memory(capacity: Memory.paddedCount(rows * count) + Memory.paddedCount(head.scratchCount))
        let output = memory.take(rows, count), scratch = memory.take(head.scratchCount)
        var wrong = 0
        for first in stride(from: 0, to: heldOut.count, by: rows) {
            let part = first..<min(heldOut.count, first + rows)
            batch.forward(
                x: heldOut.values.rows(part), times: part.map { _ in convention.embedderTime(1) }, classes: part.map { _ in classCount },
                slots: part.map { _ in 0 }, into: output.rows(0..<part.count))
            for image in part where head.likeliest(output.row(image - first), scratch: scratch) != heldOut.labels[image] { wrong += 1 }
        }
        return Float(wrong) / Float(heldOut.count)
    }

    package func sheet(_ model: DiT, _ values: TrainableValues, layout: TunableLayout, pool: ThreadPool) throws -> RGBImage? { nil }
}

extension Matrix {
    /// A picture (3 S S) moved by some pixels; what comes in at an edge is the edge's own pixel.
    fileprivate func copy(shiftedBy shift: (x: Int, y: Int), side: Int, into other: Matrix) {
        withSpan { pixels in
            other.withMutableSpan { moved in
                for channel in 0..<3 {
                    for y in 0..<side {
                        for x in 0..<side {
                            let (fromX, fromY) = (min(max(x - shift.x, 0), side - 1), min(max(y - shift.y, 0), side - 1))
                            moved[(channel * side + y) * side + x] = pixels[(channel * side + fromY) * side + fromX]
                        }
                    }
                }
            }
        }
    }
}
