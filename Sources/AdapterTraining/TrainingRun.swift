import AdapterFormat
import DiTModel
import Diffusion
import Foundation
import TensorMath

/// One training run between checkpoints: the moving values, their moments and average, and one method, `advance`.
///
/// Every random number is a function of (seed, step, position in the batch), so a run continued from a checkpoint does
/// exactly what the uninterrupted run would have done.
package final class TrainingRun {
    package let settings: TrainingSettings
    package let objective: TrainingObjective
    /// Everything that was given, and the part of it that is trained on.
    package let data, training: TrainingData
    package let set: TrainableSet
    package let layout: TunableLayout
    package let model: DiT
    package let values, firstMoments, secondMoments, average: TrainableValues
    /// Steps done.
    package internal(set) var step = 0
    package internal(set) var history = TrainingHistory()
    /// What training starts from, and what pruned values become again.
    let start: TrainingStart

    let pool: ThreadPool
    package let processes: ProcessGroup?
    private let tokenCut: TokenCut?
    /// What gradients go through: the model, or its matrices packed at the run's precision.
    private let network: DiT
    private var gradient: GradientStep
    private var isRouted: Bool
    private let moved: [Range<Int>]
    private let x0, noise, xt: Matrix
    private let imageLosses: Matrix
    let heldOut: HeldOutWatch?
    let pruning: Pruning?

    /// - Parameters:
    ///   - values: where training starts; in full training the model's own matrices are among them.
    ///   - model: the network over the frozen matrices, or over `values.weights` in full training.
    ///   - processes: those that share each batch.
    package init(
        _ settings: TrainingSettings, _ set: TrainableSet, objective: TrainingObjective, data: TrainingData, model: DiT,
        values: TrainableValues, layout: TunableLayout, pool: ThreadPool, start: TrainingStart, processes: ProcessGroup? = nil
    ) throws {
        let isFull = set.method == .full
        let classes = data.classNames.count
        let size = data.valueCount
        let members = processes?.size ?? 1
        let shards = settings.shards ?? pool.threadCount * members
        guard !isFull || settings.precision == .f32 else { throw TrainingError.fullPrecision }
        guard shards.isMultiple(of: members) else { throw TrainingError.shards(shards, processes: members) }
        self.settings = settings
        self.set = set
        self.objective = objective
        self.data = data
        self.model = model
        self.values = values
        self.layout = layout
        self.pool = pool
        self.start = start
        self.processes = processes
        let (training, heldOut) = data.split(holdingOut: settings.validationShare, seed: settings.seed)
        self.training = training
        self.heldOut = heldOut.map {
            HeldOutWatch(
                $0, best: TrainableValues(layout, classes: classes, withWeights: isFull), patience: settings.patience, seed: settings.seed, pool: pool)
        }
        firstMoments = TrainableValues(layout, classes: classes, withWeights: isFull)
        secondMoments = TrainableValues(layout, classes: classes, withWeights: isFull)
        average = TrainableValues(layout, classes: classes, withWeights: isFull)
        average.all.copy(from: values.all)
        moved = values.ranges(of: set, in: layout)
        pruning = settings.sparsity > 0 ? Pruning(settings, set.tensors(of: layout), base: start.vector.values) : nil
        tokenCut = try TokenCut.read(settings.tokenCut, model.configuration)
        isRouted = tokenCut != nil
        let route = tokenCut?.route(model.configuration)
        network = try isFull ? model : model.packed(at: settings.precision, route: route)
        gradient = GradientStep(
            network, layout: layout, classes: classes, trainsWeights: isFull, pool: pool, shards: shards, processes: processes, route: route)
        let memory = Memory(capacity: 3 * Memory.paddedCount(settings.batch * size) + Memory.paddedCount(settings.imagesPerStep))
        x0 = memory.take(settings.batch, size)
        noise = memory.take(settings.batch, size)
        xt = memory.take(settings.batch, size)
        imageLosses = memory.take(settings.imagesPerStep)
    }

    /// Whether all steps are done, or the held-out error has not fallen for too long.
    package var isFinished: Bool { step >= settings.steps || heldOut?.hasRunOut == true }

    /// Refuses a group of processes that do not stand at one step of one run, such as after a checkpoint that not all could read.
    package func checkProcessesAgree() throws {
        guard let processes else { return }
        let bytes = Digest(of: Data("\(data.digest) \(start.identity) \(layout.digest)".utf8)).bytes
        let own = [step & 0xFFFF, step >> 16, Int(bytes[0]) << 8 | Int(bytes[1])].map(Float.init)
        let sums = Memory(capacity: 16).take(own.count)
        sums.copy(from: own)
        processes.add(sums)
        guard sums.array == own.map({ $0 * Float(processes.size) }) else { throw TrainingError.processesDiffer(step: step) }
    }

    /// One step of AdamW over one batch, or several whose gradients are added up; returns their mean loss.
    @discardableResult
    package func advance() throws -> Float {
        route()
        imageLosses.fill(0)
        for part in 0..<settings.accumulation {
            takeGradients(images: (part * settings.batch)..<((part + 1) * settings.batch), adding: part > 0)
        }
        gradient.finish()
        processes?.add(imageLosses)
        let loss = imageLosses.array.reduce(0, +) / Float(settings.imagesPerStep)
        guard loss.isFinite else { throw TrainingError.notFinite(step: step) }
        let norm = update()
        step += 1
        history.losses.append(loss)
        history.gradientNorms.append(Float(norm))
        if let heldOut, step.isMultiple(of: settings.validationInterval) || step == settings.steps { try look(heldOut) }
        return loss
    }

    /// The mean gradient over the first batches, no step taken.
    func gradients(batches: Int) -> TrainableValues {
        for part in 0..<batches {
            takeGradients(images: 0..<settings.batch, adding: part > 0)
            step += 1
        }
        step = 0
        gradient.finish()
        return gradient.gradients
    }

    /// Tokens are routed for the first part of the run and never in the last.
    private func route() {
        let routes = tokenCut != nil && step < Int(Double(settings.steps) * TokenCut.routedSteps)
        guard routes != isRouted else { return }
        isRouted = routes
        gradient = GradientStep(
            network, layout: layout, classes: data.classNames.count, trainsWeights: set.method == .full, pool: pool, shards: settings.shards,
            processes: processes)
    }

    /// Draws one batch, takes it forward and back, and adds its gradients to those of the step.
    private func takeGradients(images: Range<Int>, adding: Bool) {
        let draws = images.map { TrainingDraws(seed: settings.seed, step: step, image: $0) }
        let items = draws.map { training.item(at: $0.item, balanced: settings.balancesClasses) }
        let times = draws.map(objective.time)
        let labels = zip(draws, items).map { draw, item in
            draw.dropsLabel(rate: settings.labelDropout) ? data.classNames.count : training.labels[item]
        }
        pool.forEach(images.count) { image in
            training.draw(items[image], flipped: settings.flips && draws[image].flips, draws[image], into: x0.row(image))
            draws[image].noise.normals(into: noise.row(image))
            objective.mix(x0: x0.row(image), noise: noise.row(image), t: times[image], into: xt.row(image))
        }
        let kept = keptTokens(draws)
        let losses = imageLosses.values(images)
        let share = 1 / Float(settings.imagesPerStep)
        gradient.run(
            x: xt, times: times.map(objective.embedderTime), classes: labels, tunables: values.tunables, kept: kept,
            adding: adding
        ) { [objective, x0, noise, xt] image, output, slope in
            losses[0, image] =
                objective.loss(
                    output: output, x0: x0.row(image), noise: noise.row(image), xt: xt.row(image), t: times[image], scale: share, gradient: slope
                ).total
        }
    }

    private func keptTokens(_ draws: [TrainingDraws]) -> [[Int]] {
        guard isRouted, let route = tokenCut?.route(model.configuration) else { return [] }
        return draws.map { TokenCut.kept(route.kept, of: model.configuration.tokens, draws: $0.token) }
    }

    /// Clips, takes AdamW's step, prunes, and moves the average.
    /// - Returns: the gradient's norm before it was clipped.
    private func update() -> Double {
        let gradients = gradient.gradients
        pruning?.clear(gradients.vector)
        let norm = moved.reduce(0) { $0 + sumOfSquares(gradients.all.values($1)) }.squareRoot()
        let scale = Float(norm > settings.clip ? settings.clip / norm : 1)
        let optimiser = settings.optimiser(at: step)
        let decay = settings.usedDecay(at: step)
        takeStep(
            values, m: firstMoments, v: secondMoments, average: average, gradients: gradients, moved: moved, step: step + 1, optimiser,
            gradientScale: scale, decay: decay, pool: pool)
        pruning?.apply(afterStep: step + 1, to: values.vector, average: average.vector)
        return norm
    }

    /// Measures the averaged values on the held-out images; in a group of processes one does, and tells the others.
    private func look(_ heldOut: HeldOutWatch) throws {
        let error = Memory(capacity: 16).take(1)
        if isFirstProcess { error.fill(try heldOut.measure(averagedModel, average, objective, pool: pool)) }
        processes?.broadcast(error, from: 0)
        history.heldOut.append(TrainingHistory.Look(step: step, error: error[0, 0]))
        // Before all values are given back, an error tells nothing about what will be left.
        if pruning?.isDone(afterStep: step) ?? true { heldOut.note(error[0, 0], step: step, average) }
    }

    /// The network as it is sampled from: over the averaged matrices where these are trained.
    package var averagedModel: DiT {
        average.weights.map { DiT(model.configuration, weights: $0, preset: model.preset, positionScale: model.positionScale) } ?? model
    }
    package var averagedVector: TunableVector { TunableVector(average.vector.array, layout: layout) }
    package var averagedClasses: ClassTable { ClassTable(names: data.classNames, values: average.classTable.array) }

    /// Values that the run moves, the class table with its null row and, in full training, the matrices among them.
    package var trainedValues: Int {
        self.set.count(in: layout, classes: data.classNames.count) + (values.weights?.all.reduce(0) { $0 + $1.count } ?? 0)
    }

    /// True but in the other processes of a group: one writes files and speaks.
    package var isFirstProcess: Bool { processes?.rank ?? 0 == 0 }

    /// The averaged values that did best on the held-out images; nil without such images or before the first look.
    package var bestValues: TrainableValues? { heldOut.flatMap { $0.bestStep == nil ? nil : $0.best } }

    /// What the run has made: the average, or where a run stops early its best.
    package var result: TrainableValues {
        settings.patience == nil ? average : bestValues ?? average
    }
}

/// Where a run starts: the digest of the base, the base's own values, and the adapter that it goes on from.
package struct TrainingStart: Sendable {
    let digest: Digest
    let vector: TunableVector
    let earlier: Digest?
    /// Of the base, where there is one.
    let card: BaseCard?

    /// What runs that share a batch, or a checkpoint, must have in common.
    var identity: String { "\(digest)" + (earlier.map { " from \($0)" } ?? "") }

    package init(digest: Digest, vector: TunableVector, earlier: Digest? = nil, card: BaseCard? = nil) {
        self.digest = digest
        self.vector = vector
        self.earlier = earlier
        self.card = card
    }
}
