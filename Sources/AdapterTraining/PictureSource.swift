import AdapterFormat
import DiTModel
import Diffusion
import Evaluation
import ImageFiles
import TensorMath

/// Labelled pictures with noise added, and the loss that the network was trained with.
package final class PictureSource: LabelledPictures {
    package let objective: TrainingObjective
    /// Everything that was given, and the part of it that is trained on.
    package let data, training: TrainingData
    let settings: TrainingSettings
    let x0, noise, xt: Matrix
    /// Measured on, where a share is held out.
    private let heldOut: LabelledLatents?

    /// At most so many images are measured, taken evenly from all, at so many times.
    static let heldOutImages = 64, heldOutTimes = 8

    package init(_ data: TrainingData, objective: TrainingObjective, settings: TrainingSettings, pool: ThreadPool) {
        self.data = data
        self.objective = objective
        self.settings = settings
        let (training, heldOut) = data.split(holdingOut: settings.validationShare, seed: settings.seed)
        self.training = training
        self.heldOut = heldOut.map { data in
            let count = min(Self.heldOutImages, data.count)
            return data.labelledLatents((0..<count).map { $0 * data.count / count }, pool: pool)
        }
        let size = data.valueCount
        let memory = Memory(capacity: 3 * Memory.paddedCount(settings.batch * size))
        x0 = memory.take(settings.batch, size)
        noise = memory.take(settings.batch, size)
        xt = memory.take(settings.batch, size)
    }

    package var convention: DiffusionConvention { objective.convention }
    package var hasHeldOut: Bool { heldOut != nil }

    package func batch(step: Int, update: Int, images: Range<Int>, values: TrainableValues, pool: ThreadPool) -> TrainingBatch {
        let (times, labels) = draw(step: step, images: images, labelDropout: settings.labelDropout, pool: pool)
        return TrainingBatch(x: xt, times: times.map(objective.embedderTime), classes: labels, tunables: values.tunables) {
            [objective, x0, noise, xt] image, output, scale, gradient in
            objective.loss(
                output: output, x0: x0.row(image), noise: noise.row(image), xt: xt.row(image), t: times[image], scale: scale, gradient: gradient
            ).total
        }
    }

    /// Draws pictures, noise and times into `x0`, `noise` and `xt`.
    func draw(step: Int, images: Range<Int>, labelDropout: Float, pool: ThreadPool) -> (times: [Double], labels: [Int]) {
        let draws = images.map { TrainingDraws(seed: settings.seed, step: step, image: $0) }
        let items = draws.map { training.item(at: $0.item, balanced: settings.balancesClasses) }
        let times = draws.map(objective.time)
        let labels = zip(draws, items).map { draw, item in
            draw.dropsLabel(rate: labelDropout) ? data.classNames.count : training.labels[item]
        }
        pool.forEach(images.count) { image in
            training.draw(items[image], flipped: settings.flips && draws[image].flips, draws[image], into: x0.row(image))
            draws[image].noise.normals(into: noise.row(image))
            objective.mix(x0: x0.row(image), noise: noise.row(image), t: times[image], into: xt.row(image))
        }
        return (times, labels)
    }

    package func heldOutError(_ model: DiT, _ values: TrainableValues, pool: ThreadPool) throws -> Float {
        guard let heldOut else { return .nan }
        let error = DenoisingError.measure(
            try InferenceDiT(model), tunables: values.tunables, objective: objective, images: heldOut, buckets: Self.heldOutTimes,
            bootstrap: Bootstrap(resamples: 2), seed: settings.seed, pool: pool)
        return Float(error.mean.value)
    }

    package func sheet(_ model: DiT, _ values: TrainableValues, layout: TunableLayout, pool: ThreadPool) throws -> RGBImage? {
        guard model.configuration.inChannels == 3 else { return nil }
        let sheet = try SampleSheet(convention, classes: data.classNames.count, seed: settings.seed)
        return try sheet.draw(
            model, TunableVector(values.vector.array, layout: layout), ClassTable(names: data.classNames, values: values.classTable.array), layout: layout,
            pool: pool)
    }
}

/// A source that is pictures with labels.
protocol LabelledPictures: TrainingSource {
    /// Everything that was given, and the part of it that is trained on.
    var data: TrainingData { get }
    var training: TrainingData { get }
}

extension LabelledPictures {
    package var summary: String { data.summary }
    package var digest: Digest { data.digest }
    package var shown: (name: String, value: String) {
        ("the pictures", "\(data.count) of \(data.classNames.count, "class"), digest \(data.digest.short)")
    }
    package var imageCount: Int { training.count }
    package var classNames: [String] { data.classNames }
    package var classCount: Int { data.classNames.count }
    package var updates: Int { 1 }
    package var taken: DataTaken? { data.selection.map(\.taken).flatMap { $0.isAll ? nil : $0 } }
    package var facts: any Encodable { DataFacts(data, trained: training) }
}

/// What `data.json` says of pictures.
private struct DataFacts: Encodable {
    let summary: String
    let digest: Digest
    let size, images, trained, heldOut: Int
    let classes: [Class]
    /// How the data set is laid out, and what was taken of it; nil of drawn pictures.
    let layout: String?
    let taken: DataTaken?
    let trainedDigest: Digest
    let skippedCount, passedOverCount: Int
    let skipped: [FolderReport.Skipped]
    /// By the ending of the name.
    let passedOver: [String: Int]
    let remarks: [String]

    struct Class: Encodable {
        let name: String
        let images: Int
    }

    enum CodingKeys: String, CodingKey {
        case summary, digest, size, images, trained, classes, layout, taken, skipped, remarks
        case trainedDigest = "trained_digest"
        case heldOut = "held_out"
        case skippedCount = "skipped_count"
        case passedOver = "passed_over"
        case passedOverCount = "passed_over_count"
    }

    init(_ data: TrainingData, trained training: TrainingData) {
        let trained = training.count
        summary = data.summary
        digest = data.digest
        size = data.size
        images = data.count
        self.trained = trained
        heldOut = data.count - trained
        classes = zip(data.classNames, data.byClass).map { Class(name: $0, images: $1.count) }
        layout = data.layout
        taken = data.selection?.taken
        trainedDigest = training.digest
        skipped = data.folder?.skipped ?? []
        skippedCount = skipped.count
        passedOver = data.folder?.passedOver ?? [:]
        passedOverCount = passedOver.values.reduce(0, +)
        remarks = data.folder?.remarks ?? []
    }
}
