import AdapterFormat
import DiTModel
import Diffusion
import TensorMath

extension TrainingObjective {
    /// The objective that a base's card asks for.
    package init(_ base: BaseFile, lossWeighting: String) throws {
        let card = base.card
        let convention = try DiffusionConvention(
            pathNamed: card.path, predictionNamed: card.prediction, learnSigma: base.configuration.learnSigma, timeScale: card.timeScale)
        try self.init(convention, weighting: LossWeighting(lossWeighting))
    }
}

extension TrainingRun {
    /// A run that fine-tunes an adapter on a frozen base. Each class starts at the base's null class, a little apart.
    package static func adapter(
        _ settings: TrainingSettings, _ set: TrainableSet, base: BaseFile, model: DiT, data: TrainingData, pool: ComputePool
    ) throws -> TrainingRun {
        let names = data.classNames
        let values = TrainableValues(base.layout, classes: names.count, withWeights: false)
        values.vector.copy(from: base.vector.values)
        let width = base.classes.width
        let null = Array(base.classes.values[(base.classes.nullClass * width)...].prefix(width))
        for row in 0...names.count {
            let target = values.classTable.row(row)
            NoiseStream(seed: settings.seed, stream: 1 << 62 | UInt64(row)).normals(into: target)
            target.withMutableSpan { for i in $0.indices { $0[i] = null[i] + (row == names.count ? 0 : 0.02 * $0[i]) } }
        }
        return TrainingRun(
            settings, set, objective: try TrainingObjective(base, lossWeighting: settings.lossWeighting), data: data, model: model,
            values: values, layout: base.layout, pool: pool, startDigest: base.digest)
    }

    /// A run that trains a base from nothing.
    package static func base(
        _ settings: TrainingSettings, _ configuration: DiTConfiguration, objective: TrainingObjective, data: TrainingData, pool: ComputePool
    ) throws -> TrainingRun {
        let layout = TunableLayout(configuration)
        let values = TrainableValues(layout, classes: configuration.numClasses, withWeights: true)
        values.initialise(layout, seed: settings.seed)
        guard let weights = values.weights else { preconditionFailure("full values without weights") }
        return TrainingRun(
            settings, TrainableSet(.full, configuration), objective: objective, data: data, model: DiT(configuration, weights: weights),
            values: values, layout: layout, pool: pool, startDigest: layout.digest)
    }

    /// Mean training loss over the last tenth of the steps done.
    package var recentLoss: Float {
        let recent = losses.suffix(max(1, losses.count / 10))
        return recent.reduce(0, +) / Float(max(recent.count, 1))
    }

    package var facts: TrainingFacts {
        TrainingFacts(
            data: data.summary, dataDigest: data.digest, images: data.count, steps: step, batch: settings.batch,
            learningRate: settings.learningRate, lossWeighting: settings.lossWeighting, seed: settings.seed, loss: recentLoss)
    }

    /// The averaged values as an adapter of the base. What the set does not move is the base's, bit for bit.
    package func adapter(name: String, base: BaseFile, created: String?) -> Adapter {
        let manifest = AdapterManifest(
            name: name, baseDigest: base.digest, layoutDigest: base.layout.digest, trainableSet: set, classes: data.classNames,
            prediction: base.card.prediction, path: base.card.path, training: facts, created: created)
        return Adapter(
            manifest: manifest, vector: TunableVector(average.vector.array, layout: base.layout),
            classes: ClassTable(names: data.classNames, values: average.classTable.array))
    }

    /// Writes the averaged values as a base file.
    package func writeBase(named name: String, configuration: DiTConfiguration, to path: String, as type: StoredWeights) throws {
        guard let weights = average.weights else { preconditionFailure("only full training makes a base") }
        let convention = objective.convention
        let card = BaseCard(
            name: name, prediction: convention.prediction.rawValue, path: convention.path.rawValue, timeScale: convention.timeScale,
            classNames: data.classNames, training: facts)
        let names = Weights.names(configuration)
        let matrices = weights.all
        try BaseFile.write(
            to: path, configuration, card: card, vector: TunableVector(average.vector.array, layout: TunableLayout(configuration)),
            classes: ClassTable(names: data.classNames, values: average.classTable.array), as: type == .bf16 ? .bf16 : .f32
        ) { name in
            guard let index = names.firstIndex(where: { $0.name == name }) else { preconditionFailure("no matrix \(name)") }
            return matrices[index].array
        }
    }
}

/// How a base's matrices are stored.
package enum StoredWeights: String, Sendable, CaseIterable {
    case f32, bf16
}
