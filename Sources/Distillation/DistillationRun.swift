import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import TensorMath

extension TrainingRun {
    /// A run that distils a vector, or a vector for each step, over a frozen base; it starts where the domains' own values are.
    /// - Parameter earlier: values that the first vectors start from in place of the base's.
    package static func distilling<Source: DistillationSource & TrainingSource>(
        _ settings: TrainingSettings, _ set: TrainableSet, _ source: Source, startingAt earlier: [TunableVector] = [], pool: ThreadPool
    ) throws -> TrainingRun {
        let base = source.base, layout = source.layout
        let start = base.vector.extended(to: layout)
        let values = TrainableValues(layout, classes: 0, withWeights: false, vectors: source.vectors)
        for vector in values.vectors { vector.copy(from: start.values) }
        values.drawPairs(layout, seed: settings.seed)
        for (vector, earlier) in zip(values.vectors, earlier) { vector.copy(from: earlier.values) }
        values.classTable.copy(from: Array(base.classes.values.suffix(base.classes.width)))
        return try TrainingRun(
            settings, set, source: source, model: DiT(base), values: values, layout: layout, pool: pool,
            start: TrainingStart(digest: base.digest, vector: start, card: base.card))
    }

    /// Writes values of the run as an adapter file.
    /// - Parameters:
    ///   - record: of the finished vector; its PSNR is measured here.
    ///   - values: nil is the run's result.
    package func writeDistilled(
        _ record: DistillationRecord, _ source: DistillationSource, named name: String, rounded: Bool = false, to path: String,
        values: TrainableValues? = nil
    ) throws -> Adapter {
        let values = values ?? result, base = source.base
        var record = record
        record.psnr = median(source.measured.psnrs(try source.measured.sample(model, values, layout: layout, pool: pool)))
        let own = layout.repeated(steps: record.steps)
        var manifest = AdapterManifest(
            name: name, baseDigest: base.digest, layoutDigest: own.digest, trainableSet: set, classes: [], prediction: base.card.prediction,
            path: base.card.path, lowRank: layout.lowRank, training: facts)
        manifest.distillation = record
        var adapter = Adapter(
            manifest: manifest, vector: TunableVector(values.vectors.prefix(record.steps ?? 1).flatMap(\.array), layout: own),
            classes: ClassTable(names: [], values: values.classTable.array))
        if rounded { adapter = adapter.roundedToBFloat16(base.layout) }
        adapter.manifest.golden = try InferenceDiT(model).goldenValues(of: adapter, over: base.layout)
        try AdapterFile.write(adapter, layout: base.layout, to: path, as: rounded ? .bf16 : .f32)
        return adapter
    }
}
