import AdapterFormat
import DiTModel
import DiTPipeline
import Diffusion
import TensorMath

extension TrainingObjective {
    /// The objective that a base's card asks for.
    package init(_ base: BaseFile, lossWeighting: String) throws {
        try self.init(DiffusionConvention(base), weighting: LossWeighting(lossWeighting))
    }
}

extension TrainingRun {
    /// A run that fine-tunes an adapter on a frozen base, or with the full set a copy of the base itself. Each class starts at the base's
    /// null class, a little apart; the first factor of a low-rank pair starts at random, the second at zero.
    ///
    /// - Parameters:
    ///   - lowRank: the pairs of a LoRA run.
    ///   - model: over the base's matrices, at the resolution of the images.
    ///   - guidance: the largest scale of a guidance vector that is trained beside the domain; nil trains none.
    ///   - earlier: an adapter of the same base and set whose values and classes the run goes on from, in place of the base's.
    package static func adapter(
        _ settings: TrainingSettings, _ set: TrainableSet, lowRank: LowRank? = nil, base: BaseFile, model: DiT, data: TrainingData,
        guidance: Float? = nil, startingAt earlier: Adapter? = nil, pool: ThreadPool, processes: ProcessGroup? = nil
    ) throws -> TrainingRun {
        let c = model.configuration
        guard data.valueCount == c.inChannels * c.inputSize * c.inputSize else {
            throw TrainingError.otherSize(images: data.size, network: c.inputSize)
        }
        let names = data.classNames
        let layout = base.layout.over(lowRank)
        let start = base.vector.extended(to: layout)
        let values = TrainableValues(layout, classes: names.count, withWeights: set.method == .full, vectors: guidance == nil ? 1 : 2)
        for vector in values.vectors { vector.copy(from: start.values) }
        var model = model
        if let weights = values.weights {
            for (copy, frozen) in zip(weights.all, model.weights.all) { copy.copy(from: frozen) }
            model = DiT(model.configuration, weights: weights, preset: model.preset, positionScale: model.positionScale)
        }
        values.drawPairs(layout, seed: settings.seed)
        let width = base.classes.width
        let hasNullRow = base.classes.hasNullRow, table = base.classes.withMeanForNull
        guard hasNullRow || settings.labelDropout == 0 else { throw TrainingError.noNullRow }
        let null = Array(table.values[(table.nullClass * width)...].prefix(width))
        for row in 0...names.count {
            let target = values.classTable.row(row)
            Philox(seed: settings.seed, stream: 1 << 62 | UInt64(row)).normals(into: target)
            target.withMutableSpan { for i in $0.indices { $0[i] = null[i] + (row == names.count ? 0 : 0.02 * $0[i]) } }
            // What the base has not learned stays out of its adapters.
            if row == names.count, !hasNullRow { target.withMutableSpan { for i in $0.indices { $0[i] = -.infinity } } }
        }
        if let earlier { try take(earlier, set, layout, names, into: values) }
        let objective = try TrainingObjective(base, lossWeighting: settings.lossWeighting)
        let source: any TrainingSource =
            try guidance.map {
                try GuidanceFreeSource(
                    data, objective: objective, settings: settings, largest: $0, base: start, layout: layout, model: model, classTable: values.classTable,
                    pool: pool)
            } ?? PictureSource(data, objective: objective, settings: settings, pool: pool)
        return try TrainingRun(
            settings, set, source: source, model: model, values: values, layout: layout, pool: pool,
            start: TrainingStart(digest: base.digest, vector: start, earlier: earlier?.digest, card: base.card),
            processes: processes)
    }

    /// The values of an adapter, and the rows of those of its classes that are trained again.
    private static func take(_ earlier: Adapter, _ set: TrainableSet, _ layout: TunableLayout, _ names: [String], into values: TrainableValues) throws {
        let (own, name) = (earlier.manifest.trainableSet, earlier.manifest.name ?? earlier.digest.short)
        guard own == set, earlier.vector.values.count == layout.count, earlier.manifest.layoutDigest == layout.digest else {
            throw TrainingError.otherSet(
                adapter: name, set: "\(own.method.rawValue), gammas of \(own.gammaDepth, "block")",
                wanted: "\(set.method.rawValue), gammas of \(set.gammaDepth)")
        }
        values.vector.copy(from: earlier.vector.values)
        let (table, width) = (earlier.classes, earlier.classes.width)
        for (row, name) in (names.map { Optional($0) } + [nil]).enumerated() {
            guard let old = name.map({ table.names.firstIndex(of: $0) }) ?? table.nullClass else { continue }
            values.classTable.row(row).copy(from: Array(table.values[(old * width)..<((old + 1) * width)]))
        }
    }

    /// A run that trains a base further, with all of its values and classes.
    /// - Throws: `TrainingError.otherClasses`, `otherSize` where the pictures are not of its classes or its size.
    package static func base(
        _ settings: TrainingSettings, from base: BaseFile, data: TrainingData, pool: ThreadPool, processes: ProcessGroup? = nil
    ) throws -> TrainingRun {
        let c = base.configuration
        guard data.valueCount == c.inChannels * c.inputSize * c.inputSize else { throw TrainingError.otherSize(images: data.size, network: c.inputSize) }
        guard data.classNames == base.classes.names else { throw TrainingError.otherClasses(data.classNames, base: base.card.name, wanted: base.classes.names) }
        guard base.classes.hasNullRow || settings.labelDropout == 0 else { throw TrainingError.noNullRow }
        let values = TrainableValues(base.layout, classes: base.classes.names.count, withWeights: true)
        guard let weights = values.weights else { preconditionFailure("full values without weights") }
        values.vector.copy(from: base.vector.values)
        values.classTable.copy(from: base.classes.values)
        let frozen = try DiT(base)
        for (copy, frozen) in zip(weights.all, frozen.weights.all) { copy.copy(from: frozen) }
        let objective = try TrainingObjective(base, lossWeighting: settings.lossWeighting)
        return try TrainingRun(
            settings, TrainableSet(.full, c), source: PictureSource(data, objective: objective, settings: settings, pool: pool),
            model: DiT(c, weights: weights, preset: frozen.preset), values: values, layout: base.layout, pool: pool,
            start: TrainingStart(digest: base.digest, vector: base.vector, card: base.card), processes: processes)
    }

    /// A run that trains a base from nothing.
    package static func base(
        _ settings: TrainingSettings, _ configuration: DiTConfiguration, objective: TrainingObjective, data: TrainingData, pool: ThreadPool,
        processes: ProcessGroup? = nil
    ) throws -> TrainingRun {
        let source = PictureSource(data, objective: objective, settings: settings, pool: pool)
        return try fromNothing(settings, configuration, source: source, pool: pool, processes: processes)
    }

    /// A run that trains a classifier from nothing.
    package static func classifier(
        _ settings: TrainingSettings, _ configuration: DiTConfiguration, convention: DiffusionConvention, data: TrainingData, pool: ThreadPool,
        processes: ProcessGroup? = nil
    ) throws -> TrainingRun {
        let source = ClassifierSource(data, configuration, convention: convention, settings: settings, pool: pool)
        return try fromNothing(settings, configuration, source: source, pool: pool, processes: processes)
    }

    private static func fromNothing(
        _ settings: TrainingSettings, _ configuration: DiTConfiguration, source: any TrainingSource, pool: ThreadPool, processes: ProcessGroup?
    ) throws -> TrainingRun {
        let layout = TunableLayout(configuration)
        let values = TrainableValues(layout, classes: configuration.numClasses, withWeights: true)
        values.initialise(layout, seed: settings.seed)
        guard let weights = values.weights else { preconditionFailure("full values without weights") }
        return try TrainingRun(
            settings, TrainableSet(.full, configuration), source: source, model: DiT(configuration, weights: weights), values: values, layout: layout,
            pool: pool, start: TrainingStart(digest: layout.digest, vector: .neutral(layout)), processes: processes)
    }

    package var facts: TrainingFacts {
        var facts = TrainingFacts(
            data: source.summary, dataDigest: source.digest, images: source.imageCount, steps: step, batch: settings.imagesPerStep,
            learningRate: settings.learningRate, lossWeighting: settings.lossWeighting, seed: settings.seed, loss: history.recentLoss)
        if heldOut != nil { facts.validationShare = settings.validationShare }
        if let heldOut, heldOut.bestStep != nil {
            facts.heldOutError = settings.patience != nil ? heldOut.bestError : history.heldOut.last?.error
        }
        if settings.tokenCut != "none" { facts.tokenCut = settings.tokenCut }
        if settings.sparsity > 0 { facts.sparsity = settings.sparsity }
        facts.taken = source.taken
        if settings.precision != .f32 { facts.precision = settings.precision.rawValue }
        return facts
    }

    /// Values of the run as an adapter of the base. What the set does not move is the base's, bit for bit.
    /// - Parameter values: nil is the run's result.
    package func adapter(name: String, base: BaseFile, created: String?, values: TrainableValues? = nil) -> Adapter {
        let values = values ?? result
        var manifest = AdapterManifest(
            name: name, baseDigest: base.digest, layoutDigest: layout.digest, trainableSet: set, classes: source.classNames,
            prediction: base.card.prediction, path: base.card.path, lowRank: layout.lowRank, training: facts, created: created)
        manifest.parents = start.earlier.map { [$0] }
        if model.configuration.inputSize != base.configuration.inputSize || model.positionScale != 1 {
            manifest.resolution = model.configuration.inputSize
            manifest.positionScale = model.positionScale
        }
        return Adapter(
            manifest: manifest, vector: TunableVector(values.vector.array, layout: layout),
            classes: ClassTable(names: source.classNames, values: values.classTable.array))
    }

    /// Writes values of the run as an adapter file, with the recorded network call.
    /// - Parameters:
    ///   - rounded: to bfloat16, which makes another adapter of half the size.
    ///   - values: nil is the run's result.
    /// - Returns: what is in the file.
    /// - Throws: `TensorFileError.unwritable`.
    package func writeAdapter(named name: String, base: BaseFile, rounded: Bool = false, to path: String, values: TrainableValues? = nil) throws -> Adapter {
        var adapter = adapter(name: name, base: base, created: nil, values: values)
        if rounded { adapter = adapter.roundedToBFloat16(base.layout) }
        adapter.manifest.golden = try InferenceDiT(model).goldenValues(adapter.vector, adapter.classes, layout: layout)
        try AdapterFile.write(adapter, layout: base.layout, to: path, as: rounded ? .bf16 : .f32)
        return adapter
    }

    /// Writes the guidance vector that was trained beside the domain.
    /// - Parameters:
    ///   - scale: what it stands for at weight 1.
    ///   - domain: the run's adapter.
    package func writeGuidance(
        named name: String, scale: Float, domain: DistillationRecord.Domain, base: BaseFile, rounded: Bool, to path: String
    ) throws -> Adapter {
        var manifest = AdapterManifest(
            name: name, baseDigest: base.digest, layoutDigest: layout.digest, trainableSet: set, classes: [], prediction: base.card.prediction,
            path: base.card.path, lowRank: layout.lowRank, training: facts)
        manifest.distillation = DistillationRecord(
            role: .guidance, method: "guidance-free", domains: [domain], guidance: "cfg", guidanceScale: Double(scale), guidanceInterval: [0, 1])
        var adapter = Adapter(
            manifest: manifest, vector: TunableVector(result.vectors[1].array, layout: layout),
            classes: ClassTable(names: [], values: Array(base.classes.values.suffix(base.classes.width))))
        if rounded { adapter = adapter.roundedToBFloat16(base.layout) }
        adapter.manifest.golden = try InferenceDiT(model).goldenValues(of: adapter, over: base.layout)
        try AdapterFile.write(adapter, layout: base.layout, to: path, as: rounded ? .bf16 : .f32)
        return adapter
    }

    /// Writes values of the run as a base file.
    /// - Parameters:
    ///   - type: of the matrices.
    ///   - values: nil is the run's result.
    package func writeBase(
        named name: String, configuration: DiTConfiguration, to path: String, as type: DType, values: TrainableValues? = nil
    ) throws {
        let values = values ?? result
        guard let weights = values.weights else { preconditionFailure("only full training makes a base") }
        let convention = source.convention
        var card = BaseCard(
            name: name, prediction: source.prediction, path: convention.path.rawValue, timeScale: convention.timeScale,
            classNames: source.classNames, training: facts)
        if let start = start.card { (card.heads, card.preset, card.latentScale) = (start.heads, start.preset, start.latentScale) }
        let matrix = weights.finder(configuration)
        if let pattern = settings.pattern {
            card.sparsity = BaseSparsity(pattern: pattern, saliency: "straight-through", dense: start.card.map { $0.sparsity?.dense ?? start.digest })
        }
        try BaseFile.write(
            to: path, configuration, card: card, vector: TunableVector(values.vector.array, layout: TunableLayout(configuration)),
            classes: ClassTable(names: source.classNames, values: values.classTable.array), as: type
        ) { name in
            let own = matrix(name)
            guard settings.pattern != nil, configuration.isSparse(name) else { return own.array }
            let kept = Memory(capacity: Memory.paddedCount(own.count)).take(own.rows, own.columns)
            keepTwoOfFour(own, into: kept)
            return kept.array
        }
    }
}
