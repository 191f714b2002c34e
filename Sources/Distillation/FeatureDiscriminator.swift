import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import TensorMath

/// Tells the student's pictures from the teacher's by what the frozen base sees in them: the adversarial term of ACT (arXiv 2311.14097),
/// with the frozen network's features in place of a network of its own, as LADD has it (arXiv 2403.12015).
///
/// Both are mixed with noise, and the tokens that leave the base's middle block, normalised, are scored linearly in their values and the
/// squares of these. The weights of the scores are not trained but solved for on every batch: least squares to 1 for the teacher and -1
/// for the student, with a ridge. So there is no second optimiser to keep in step, and a run that goes on needs no state of it.
package final class FeatureDiscriminator {
    private let model: DiT
    private let blocks: Int
    private let objective: TrainingObjective
    private let tunables: Tunables
    private let nullClass: Int
    private let pool: ThreadPool
    private let workers: [Worker]
    /// (images, C S S): with noise, and (images T, D): normalised tokens of the student's and behind them of the teacher's.
    private let mixed, tokens: Matrix
    private let noise, gradients: Matrix
    /// Of the scores: weights of a token's values and squares, and the mean that is taken off both.
    private var weights, mean: [Float]
    /// Values and squares of all tokens, in double precision for the sums over them.
    private var seen: [Double]

    /// Over the mean eigenvalue.
    private static let ridge = 0.1
    /// Share of the path from noise to data that pictures are shown at: where there is enough left of them to tell apart.
    private static let times = 0.3...0.98

    /// What one thread needs; one image at a time, since a middle block's tokens of one are enough for full-speed products.
    private struct Worker {
        let pass: Pass
        let conditioning: ConditioningState
        let gradients: TrainableValues
        let unit, zero, dUnit, dZero: Matrix
        let dNormed, dTokens, mean, rstd: Matrix

        init(_ model: DiT, layout: TunableLayout) {
            let c = model.configuration, D = c.hiddenSize
            pass = Pass.views(model, upTo: 1, saved: .tunables)[0]
            conditioning = ConditioningState(c, rows: 1, backward: true)
            gradients = TrainableValues(layout, classes: 0, withWeights: false)
            let memory = Memory(
                capacity: 4 * Memory.paddedCount(D) + 2 * Memory.paddedCount(c.tokens * D) + 2 * Memory.paddedCount(c.tokens))
            (unit, zero, dUnit, dZero) = (memory.take(D), memory.take(D), memory.take(D), memory.take(D))
            (dNormed, dTokens) = (memory.take(c.tokens, D), memory.take(c.tokens, D))
            (mean, rstd) = (memory.take(c.tokens), memory.take(c.tokens))
            unit.fill(1)
        }
    }

    /// - Parameter images: of a batch.
    package init(_ base: BaseFile, convention: DiffusionConvention, images: Int, pool: ThreadPool) throws {
        model = try DiT(base)
        let c = model.configuration
        blocks = max(1, c.depth / 2)
        objective = TrainingObjective(convention)
        let slots = AdapterSlots(base.layout, count: 1, classRows: base.classes.rows)
        slots.install(base.vector, base.classes.withMeanForNull, slot: 0)
        tunables = slots.tunables[0]
        nullClass = base.classes.nullClass
        self.pool = pool
        workers = (0..<pool.threadCount).map { [model] _ in Worker(model, layout: base.layout) }
        let count = c.inChannels * c.inputSize * c.inputSize
        let memory = Memory(
            capacity: 4 * Memory.paddedCount(images * count) + Memory.paddedCount(2 * images * c.tokens * c.hiddenSize))
        (mixed, noise, gradients) = (memory.take(2 * images, count), memory.take(images, count), memory.take(images, count))
        tokens = memory.take(2 * images * c.tokens, c.hiddenSize)
        weights = [Float](repeating: 0, count: 2 * c.hiddenSize)
        mean = weights
        seen = [Double](repeating: 0, count: 2 * images * c.tokens * 2 * c.hiddenSize)
    }

    /// How far these pictures of the student's are told from the teacher's, and what would make it harder.
    func term(share: Float, student: [Matrix], teacher: [Matrix], _ draws: [TrainingDraws]) -> AdversarialTerm {
        for (image, draws) in draws.enumerated() { draws.noise.normals(into: noise.row(image)) }
        let time = objective.convention.path.time(at: Self.times.lowerBound + (Self.times.upperBound - Self.times.lowerBound) * Double(draws[0].place))
        let images = student.indices, gradients = gradients.rows(images)
        solve(student: student, teacher: teacher, noise: images.map(noise.row), time: time)
        let losses = losses(count: images.count, time: time, gradients: gradients)
        let lengths = images.map { gradients.row($0).withSpan { x in x.indices.reduce(0.0) { $0 + Double(x[$1] * x[$1]) } }.squareRoot() }
        let factor = Float(Double(images.count) / max(lengths.reduce(0, +), 1e-30))
        gradients.withMutableSpan { for i in $0.indices { $0[i] *= factor } }
        return AdversarialTerm(share: share, gradients: gradients, losses: losses)
    }

    /// Finds the scores that tell these pictures apart best.
    /// - Parameters:
    ///   - student, teacher: as many of one as of the other.
    ///   - noise: for a picture of each.
    ///   - time: t of the noise.
    package func solve(student: [Matrix], teacher: [Matrix], noise: [Matrix], time: Double) {
        let n = student.count
        show(student + teacher, noise + noise, time: time)
        pool.run { thread in
            for image in stride(from: thread, to: 2 * n, by: pool.threadCount) { see(image, time: time, workers[thread]) }
        }
        let T = model.configuration.tokens, D = model.configuration.hiddenSize, rows = 2 * n * T
        // Fewer pictures than there is room for would leave those of the batch before in the sums.
        precondition(seen.count == rows * 2 * D, "\(n) pictures in the place of \(seen.count / (4 * T * D))")
        var means = [Double](repeating: 0, count: 2 * D)
        tokens.rows(0..<rows).withSpan { tokens in
            for row in 0..<rows {
                for i in 0..<D {
                    let value = Double(tokens[row * D + i])
                    seen[row * 2 * D + i] = value
                    seen[row * 2 * D + D + i] = value * value
                }
            }
        }
        for row in 0..<rows { for i in 0..<(2 * D) { means[i] += seen[row * 2 * D + i] / Double(rows) } }
        var aim = [Double](repeating: 0, count: 2 * D)
        for row in 0..<rows {
            let side = row < n * T ? -1.0 : 1.0
            for i in 0..<(2 * D) {
                seen[row * 2 * D + i] -= means[i]
                aim[i] += side * seen[row * 2 * D + i]
            }
        }
        let gram = SymmetricMatrix(gramOf: seen, order: 2 * D)
        let found = gram.addingToDiagonal(Self.ridge * gram.trace / Double(2 * D)).solution(aim)
        weights = (found ?? aim.map { _ in 0 }).map(Float.init)
        mean = means.map(Float.init)
    }

    /// Mixes pictures with noise, the student's first.
    package func show(_ pictures: [Matrix], _ noise: [Matrix], time: Double) {
        for image in pictures.indices { objective.mix(x0: pictures[image], noise: noise[image], t: time, into: mixed.row(image)) }
    }

    /// Of the first pictures that are shown: the mean over its tokens of ((1 - score) / 2)^2, and the gradient of that at the
    /// picture.
    /// - Parameter gradients: (images, C S S), overwritten.
    /// - Returns: the losses.
    @discardableResult package func losses(count: Int, time: Double, gradients: Matrix) -> [Float] {
        let losses = Memory(capacity: Memory.paddedCount(count)).take(count)
        let data = Float(objective.convention.path.level(time).data)
        pool.run { thread in
            let worker = workers[thread]
            for image in stride(from: thread, to: count, by: pool.threadCount) {
                let leaving = see(image, time: time, worker)
                losses[0, image] = score(image, into: worker.dNormed)
                worker.dTokens.fill(0)
                normModulateBackward(
                    worker.dNormed, x: leaving, mean: worker.mean, rstd: worker.rstd, scale: worker.unit, dx: worker.dTokens,
                    dscale: worker.dUnit, dshift: worker.dZero)
                let row = gradients.row(image)
                model.backward(
                    worker.pass, dTokens: worker.dTokens, blocks: blocks, conditioning: worker.conditioning, tunables: tunables,
                    gradients: worker.gradients.tunables, dInput: row)
                row.withMutableSpan { for i in $0.indices { $0[i] *= data } }
            }
        }
        return losses.array
    }

    /// The normalised tokens of one mixed picture.
    /// - Returns: the tokens before that.
    @discardableResult private func see(_ image: Int, time: Double, _ worker: Worker) -> Matrix {
        let T = model.configuration.tokens
        Conditioning.forward(
            worker.conditioning, times: [objective.embedderTime(time)], classes: [nullClass], tunables: [tunables], weights: model.weights,
            preset: model.preset)
        let leaving = model.forward(
            worker.pass, x: mixed.rows(image..<(image + 1)), conditioning: worker.conditioning, tunables: tunables, blocks: blocks)
        normModulate(
            leaving, scale: worker.unit, shift: worker.zero, epsilon: 1e-6, into: tokens.rows((image * T)..<((image + 1) * T)), mean: worker.mean,
            rstd: worker.rstd)
        return leaving
    }

    /// - Parameter slopes: (T, D), the loss's gradient at the normalised tokens, overwritten.
    private func score(_ image: Int, into slopes: Matrix) -> Float {
        let T = model.configuration.tokens, D = model.configuration.hiddenSize
        var loss: Float = 0
        tokens.rows((image * T)..<((image + 1) * T)).withSpan { u in
            slopes.withMutableSpan { slopes in
                for token in 0..<T {
                    var score: Float = 0
                    for i in 0..<D {
                        let value = u[token * D + i]
                        score += weights[i] * (value - mean[i]) + weights[D + i] * (value * value - mean[D + i])
                    }
                    loss += (1 - score) * (1 - score) / 4
                    let slope = -(1 - score) / Float(2 * T)
                    for i in 0..<D { slopes[token * D + i] = slope * (weights[i] + 2 * weights[D + i] * u[token * D + i]) }
                }
            }
        }
        return loss / Float(T)
    }
}

/// What a discriminator adds to the loss of a batch.
struct AdversarialTerm: Sendable {
    let share: Float
    /// (images, C S S), at the data, on average as long as those of a loss that is a distance.
    let gradients: Matrix
    let losses: [Float]

    /// (1 - share) of a loss and its gradient, share of the term's.
    /// - Parameter gradient: at the front that of the data, before `scale`.
    func added(to loss: Float, _ image: Int, scale: Float, gradient: Matrix) -> Float {
        gradients.row(image).withSpan { own in
            gradient.withMutableSpan { gradient in
                for i in own.indices { gradient[i] = (1 - share) * gradient[i] + share * scale * own[i] }
            }
        }
        return (1 - share) * loss + share * losses[image]
    }
}
