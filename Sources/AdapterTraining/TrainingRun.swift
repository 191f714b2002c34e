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
    package let source: any TrainingSource
    package let set: TrainableSet
    package let layout: TunableLayout
    package let model: DiT
    package let values, firstMoments, secondMoments, average: TrainableValues
    /// Steps done.
    package internal(set) var step = 0
    package internal(set) var history = TrainingHistory()
    /// What training starts from, and what pruned values become again.
    let start: TrainingStart

    package let pool: ThreadPool
    package let processes: ProcessGroup?
    private let tokenCut: TokenCut?
    /// What gradients go through: the model, or its matrices packed at the run's precision.
    private let network: DiT
    /// Where the network computes with a part of the model's weights.
    private let straightThrough: StraightThrough?
    /// The model, or over that part of its weights.
    private let plain: DiT
    private var gradient: GradientStep
    private var isRouted: Bool
    /// Ranges of gradients: of a vector's trained values, and of all that is trained beside vectors.
    private let moved, movedBeside: [Range<Int>]
    private let imageLosses: Matrix
    let heldOut: HeldOutWatch?
    let pruning: Pruning?

    /// - Parameters:
    ///   - values: where training starts; in full training the model's own matrices are among them.
    ///   - model: the network over the frozen matrices, or over `values.weights` in full training.
    ///   - processes: those that share each batch.
    package init(
        _ settings: TrainingSettings, _ set: TrainableSet, source: any TrainingSource, model: DiT,
        values: TrainableValues, layout: TunableLayout, pool: ThreadPool, start: TrainingStart, processes: ProcessGroup? = nil
    ) throws {
        let isFull = set.method == .full
        let members = processes?.size ?? 1
        let shards = settings.shards ?? pool.threadCount * members
        guard shards.isMultiple(of: members) else { throw TrainingError.shards(shards, processes: members) }
        self.settings = settings
        self.set = set
        self.source = source
        self.model = model
        self.values = values
        self.layout = layout
        self.pool = pool
        self.start = start
        self.processes = processes
        let alike = { TrainableValues(layout, classes: source.classNames.count, withWeights: isFull, vectors: source.vectors) }
        heldOut = source.hasHeldOut ? HeldOutWatch(best: alike(), patience: settings.patience) : nil
        firstMoments = alike()
        secondMoments = alike()
        average = alike()
        average.all.copy(from: values.all)
        moved = values.ranges(of: set, in: layout, withClassTable: false)
        let vector = Memory.paddedCount(layout.count)
        movedBeside = source.classNames.isEmpty ? [] : [vector..<(values.all.count - (source.vectors - 1) * vector)]
        pruning = settings.sparsity > 0 ? Pruning(settings, set.tensors(of: layout), base: start.vector.values) : nil
        tokenCut = try TokenCut.read(settings.tokenCut, model.configuration)
        isRouted = tokenCut != nil
        let route = tokenCut?.route(model.configuration)
        if settings.pattern != nil, let weights = values.weights {
            let sparse = StraightThrough(weights, model.configuration)
            sparse.mask(pool: pool)
            straightThrough = sparse
            plain = DiT(model.configuration, weights: sparse.masked, preset: model.preset, positionScale: model.positionScale)
        } else {
            (straightThrough, plain) = (nil, model)
        }
        // Matrices that move are multiplied as they lie in f32, and packed anew before every step at another precision.
        network =
            try isFull && settings.precision == .f32
            ? plain : plain.packed(at: settings.precision, route: route, trainedImages: isFull ? GradientStep.usualChunk(model.configuration) : 0)
        gradient = GradientStep(
            network, layout: layout, classes: source.classCount, trainsWeights: isFull, pool: pool, shards: shards, processes: processes, route: route)
        imageLosses = Memory(capacity: Memory.paddedCount(settings.imagesPerStep)).take(settings.imagesPerStep)
    }

    /// Whether all steps are done, or the held-out error has not fallen for too long.
    package var isFinished: Bool { step >= settings.steps || heldOut?.hasRunOut == true }

    /// Refuses a group of processes that do not stand at one step of one run, such as after a checkpoint that not all could read.
    package func checkProcessesAgree() throws {
        guard let processes else { return }
        let bytes = Digest(of: Data("\(source.digest) \(start.identity) \(layout.digest)".utf8)).bytes
        let own = [step & 0xFFFF, step >> 16, Int(bytes[0]) << 8 | Int(bytes[1])].map(Float.init)
        let sums = Memory(capacity: 16).take(own.count)
        sums.copy(from: own)
        processes.add(sums)
        guard sums.array == own.map({ $0 * Float(processes.size) }) else { throw TrainingError.processesDiffer(step: step) }
    }

    /// One step of AdamW of each vector over one batch, or several whose gradients are added up; returns their mean loss.
    @discardableResult
    package func advance() throws -> Float {
        route()
        var (loss, norm) = (Float(0), 0.0)
        for update in 0..<source.updates {
            imageLosses.fill(0)
            straightThrough?.mask(pool: pool)
            if set.method == .full, settings.precision != .f32 { network.repack(from: plain, pool: pool) }
            for part in 0..<settings.accumulation {
                takeGradients(images: (part * settings.batch)..<((part + 1) * settings.batch), update: update, adding: part > 0)
            }
            gradient.finish()
            processes?.add(imageLosses)
            loss += imageLosses.array.reduce(0, +) / Float(settings.imagesPerStep * source.updates)
            guard loss.isFinite else { throw TrainingError.notFinite(step: step) }
            norm += self.update(source.moves(ofUpdate: update, step: step)) / Double(source.updates)
        }
        step += 1
        history.losses.append(loss)
        history.gradientNorms.append(Float(norm))
        if let heldOut, step.isMultiple(of: settings.validationInterval) || step == settings.steps { try look(heldOut) }
        return loss
    }

    /// The mean gradient over the first batches, no step taken.
    func gradients(batches: Int) -> TrainableValues {
        for part in 0..<batches {
            takeGradients(images: 0..<settings.batch, update: 0, adding: part > 0)
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
            network, layout: layout, classes: source.classCount, trainsWeights: set.method == .full, pool: pool, shards: settings.shards,
            processes: processes)
    }

    /// Takes one batch forward and back, and adds its gradients to those of the update.
    private func takeGradients(images: Range<Int>, update: Int, adding: Bool) {
        let batch = source.batch(step: step, update: update, images: images, values: values, pool: pool)
        let losses = imageLosses.values(images)
        let share = 1 / Float(settings.imagesPerStep)
        gradient.run(
            x: batch.x, times: batch.times, classes: batch.classes, tunables: batch.tunables, kept: keptTokens(images), adding: adding
        ) { image, output, slope in
            losses[0, image] = batch.loss(image, output, share, slope)
        }
    }

    private func keptTokens(_ images: Range<Int>) -> [[Int]] {
        guard isRouted, let route = tokenCut?.route(model.configuration) else { return [] }
        return images.map { TokenCut.kept(route.kept, of: model.configuration.tokens, draws: TrainingDraws(seed: settings.seed, step: step, image: $0).token) }
    }

    /// Clips, takes AdamW's step, prunes, and moves the average.
    /// - Returns: the gradient's norm before it was clipped.
    private func update(_ moves: [VectorMove]) -> Double {
        let gradients = gradient.gradients
        pruning?.clear(gradients.vector)
        if let straightThrough, let weights = gradients.weights { straightThrough.addPull(to: weights, pool: pool) }
        let norm = (moved + movedBeside).reduce(0) { $0 + sumOfSquares(gradients.all.values($1)) }.squareRoot()
        let scale = Float(norm > settings.clip ? settings.clip / norm : 1), vector = Memory.paddedCount(layout.count)
        for move in moves { take(move, moved, offset: move.vector * vector, gradients, scale) }
        if !movedBeside.isEmpty { take(VectorMove(vector: 0), movedBeside, offset: (source.vectors - 1) * vector, gradients, scale) }
        pruning?.apply(afterStep: step + 1, to: values.vector, average: average.vector)
        return norm
    }

    private func take(_ move: VectorMove, _ ranges: [Range<Int>], offset: Int, _ gradients: TrainableValues, _ scale: Float) {
        var optimiser = settings.optimiser(at: step)
        optimiser.learningRate *= move.rate
        takeStep(
            values, m: firstMoments, v: secondMoments, average: average, gradients: gradients, moved: ranges, offset: offset, step: step + 1, optimiser,
            gradientScale: scale * move.gradient, decay: settings.usedDecay(at: step), pool: pool)
    }

    /// Measures the averaged values on the held-out images; in a group of processes one does, and tells the others.
    private func look(_ heldOut: HeldOutWatch) throws {
        let error = Memory(capacity: 16).take(1)
        if isFirstProcess { error.fill(try source.heldOutError(averagedModel, average, pool: pool)) }
        processes?.broadcast(error, from: 0)
        history.heldOut.append(TrainingHistory.Look(step: step, error: error[0, 0]))
        // Before all values are given back, an error tells nothing about what will be left.
        if pruning?.isDone(afterStep: step) ?? true { heldOut.note(error[0, 0], step: step, average) }
    }

    /// The network as it is sampled from: over the averaged matrices where these are trained.
    package var averagedModel: DiT {
        average.weights.map { average in
            var weights = average
            if straightThrough != nil {
                let sparse = StraightThrough(average, model.configuration)
                sparse.mask(pool: pool)
                weights = sparse.masked
            }
            return DiT(model.configuration, weights: weights, preset: model.preset, positionScale: model.positionScale)
        } ?? model
    }

    /// Values that the run moves: of every vector, of the class table with its null row where it is trained and, in full training, the matrices.
    package var trainedValues: Int {
        let table = source.classNames.isEmpty ? 0 : values.classTable.count
        return source.vectors * self.set.tensors(of: layout).reduce(0) { $0 + $1.count } + table + (values.weights?.all.reduce(0) { $0 + $1.count } ?? 0)
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
