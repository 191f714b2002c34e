import AdapterFormat
import DiTModel
import Diffusion
import TensorMath

/// One training run between checkpoints: the moving values, their moments and average, and one method, `advance`.
///
/// Every random number is a function of (seed, step, position in the batch), so a run continued from a checkpoint does
/// exactly what the uninterrupted run would have done.
package final class TrainingRun {
    package let settings: TrainingSettings
    package let objective: TrainingObjective
    package let data: TrainingData
    package let set: TrainableSet
    package let values, firstMoments, secondMoments, average: TrainableValues
    /// Steps done.
    package internal(set) var step = 0
    /// Mean loss of every step done.
    package internal(set) var losses: [Float] = []
    /// Digest of what training starts from.
    let startDigest: Digest

    private let layout: TunableLayout
    private let pool: ComputePool
    private let gradient: GradientStep
    private let moved: [Range<Int>]
    private let x0, noise, xt: Matrix
    private let imageLosses: Matrix

    /// - Parameters:
    ///   - values: where training starts; in full training the model's own matrices are among them.
    ///   - model: the network over the frozen matrices, or over `values.weights` in full training.
    package init(
        _ settings: TrainingSettings, _ set: TrainableSet, objective: TrainingObjective, data: TrainingData, model: DiT,
        values: TrainableValues, layout: TunableLayout, pool: ComputePool, startDigest: Digest
    ) {
        let isFull = set.method == .full
        let classes = data.classNames.count
        let size = data.valueCount
        self.settings = settings
        self.set = set
        self.objective = objective
        self.data = data
        self.values = values
        self.layout = layout
        self.pool = pool
        self.startDigest = startDigest
        firstMoments = TrainableValues(layout, classes: classes, withWeights: isFull)
        secondMoments = TrainableValues(layout, classes: classes, withWeights: isFull)
        average = TrainableValues(layout, classes: classes, withWeights: isFull)
        average.all.copy(from: values.all)
        moved = values.ranges(of: set, in: layout)
        gradient = GradientStep(model, layout: layout, classes: classes, trainsWeights: isFull, pool: pool)
        let memory = Memory(capacity: 3 * Memory.paddedCount(settings.batch * size) + Memory.paddedCount(settings.batch))
        x0 = memory.take(settings.batch, size)
        noise = memory.take(settings.batch, size)
        xt = memory.take(settings.batch, size)
        imageLosses = memory.take(settings.batch)
    }

    /// One step of AdamW over one batch; returns the batch's mean loss.
    @discardableResult
    package func advance() throws -> Float {
        let draws = (0..<settings.batch).map { TrainingDraws(seed: settings.seed, step: step, image: $0) }
        let items = draws.map { min(data.count - 1, Int($0.item * Float(data.count))) }
        let times = draws.map(objective.time)
        let labels = zip(draws, items).map { draw, item in
            draw.dropsLabel(rate: settings.labelDropout) ? data.classNames.count : data.labels[item]
        }
        pool.forEach(settings.batch) { image in
            data.draw(items[image], flipped: settings.flips && draws[image].flips, draws[image], into: x0.row(image))
            draws[image].noise.normals(into: noise.row(image))
            x0.row(image).withSpan { x0 in
                noise.row(image).withSpan { noise in
                    xt.row(image).withMutableSpan { objective.mix(x0: x0, noise: noise, t: times[image], into: &$0) }
                }
            }
        }
        gradient.run(x: xt, times: times.map(objective.embedderTime), classes: labels, tunables: values.tunables) {
            [objective, x0, noise, xt, imageLosses, share = 1 / Float(settings.batch)] image, output, slope in
            let loss = output.withSpan { output in
                x0.row(image).withSpan { x0 in
                    noise.row(image).withSpan { noise in
                        xt.row(image).withSpan { xt in
                            slope.withMutableSpan {
                                objective.loss(output: output, x0: x0, noise: noise, xt: xt, t: times[image], scale: share, gradient: &$0)
                            }
                        }
                    }
                }
            }
            imageLosses.values(image..<(image + 1)).fill(loss.total)
        }
        let loss = imageLosses.array.reduce(0, +) / Float(settings.batch)
        guard loss.isFinite else { throw TrainingError.notFinite(step: step) }
        update()
        step += 1
        losses.append(loss)
        return loss
    }

    /// Clips, takes AdamW's step, and moves the average.
    private func update() {
        let gradients = gradient.gradients
        let norm = moved.reduce(0) { $0 + sumOfSquares(gradients.all.values($1)) }.squareRoot()
        let scale = Float(norm > settings.clip ? settings.clip / norm : 1)
        let optimiser = settings.optimiser(at: step)
        // The average starts as a plain mean, so that a short run is not held back by its start.
        let decay = min(settings.emaDecay, Double(step + 1) / Double(step + 10))
        pool.run { lane in
            for range in moved {
                let share = pool.share(of: range.count, lane: lane)
                let part = (range.lowerBound + share.lowerBound)..<(range.lowerBound + share.upperBound)
                adamW(
                    values.all.values(part), m: firstMoments.all.values(part), v: secondMoments.all.values(part),
                    g: gradients.all.values(part), step: step + 1, optimiser, gradientScale: scale)
                updateAverage(average.all.values(part), with: values.all.values(part), decay: decay)
            }
        }
    }
}
