import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import TensorMath

/// Guidance in one row: at states of the teacher's own guided trajectories, one row with the vector is to give what the teacher's pair
/// gave (arXiv 2503.07274; `DiffFit.md`, "Distilled vectors").
package final class GuidanceSource: DistillationSource, TrainingSource {
    private let x: Matrix

    /// - Parameters:
    ///   - plan: the sampling that the vector is for.
    package init(_ base: BaseFile, _ teacher: GuidedTeacher, layout: TunableLayout, plan: SamplingPlan, settings: TrainingSettings) {
        // Every state of a trajectory is drawn about once.
        let images = max(8, 192 / teacher.domains.count)
        let pool = TeacherPool.Settings(
            images: images, stepsPerRound: max(1, images * teacher.domains.count * plan.evaluations / settings.imagesPerStep))
        let memory = Memory(capacity: Memory.paddedCount(settings.batch * teacher.latentCount))
        x = memory.take(settings.batch, teacher.latentCount)
        super.init(
            base, teacher, layout: layout, settings: settings,
            pool: TeacherPool(teacher, plan, keeping: Array(0..<plan.evaluations), keepsOutputs: true, settings: pool, seed: settings.seed), plan: plan)
    }

    package var updates: Int { 1 }

    package func batch(step: Int, update: Int, images: Range<Int>, values: TrainableValues, pool threads: ThreadPool) -> TrainingBatch {
        pool.fill(forStep: step)
        let (domain, own) = domain(step: step)
        lay(values.vector, over: domain)
        let draws = images.map { TrainingDraws(seed: settings.seed, step: step, image: $0) }
        let places = draws.map { draw in
            (call: min(pool.plan.evaluations - 1, Int(draw.place * Float(pool.plan.evaluations))), image: own.lowerBound + Int(draw.item * Float(own.count)))
        }
        let states = places.map { pool.states[$0.call] ?? .init() }
        for (row, place) in places.enumerated() { x.row(row).copy(from: states[row].latents[place.image]) }
        let convention = convention, rules = pool.plan.rules
        return TrainingBatch(
            x: x, times: places.map { pool.plan.embedderTime($0.call) }, classes: places.map { pool.classRow($0.image) }, tunables: student.tunables
        ) { image, output, scale, gradient in
            let place = places[image], time = rules[place.call].time
            // The error that the network was trained on: an error of the data is one of the velocity over 1 - t.
            let divisor = convention.prediction == .x0 ? max(1 - time, TrainingObjective.leastDivisor) : 1
            return squaredError(output, states[image].outputs[place.image], weight: Float(1 / (divisor * divisor)), scale: scale, gradient: gradient)
        }
    }
}

extension GuidanceSource {
    /// How near a vector comes to guidance itself at the weights that stand for other scales: 1 + weight (scale - 1).
    /// - Parameter values: of the finished vector.
    package func dial(_ model: DiT, _ values: TrainableValues, weights: [Double] = [0.25, 0.5, 0.75, 1, 1.25], pool threads: ThreadPool) throws
        -> [DistillationRecord.DialPoint]
    {
        let learned = teacher.guidance, start = base.vector.extended(to: layout).values
        defer { teacher.guidance = learned }
        let weighted = TrainableValues(layout, classes: 0, withWeights: false)
        return try weights.map { weight in
            teacher.guidance.scale = 1 + Float(weight) * (learned.scale - 1)
            weighted.vector.copy(from: zip(start, values.vector.array).map { $0 + Float(weight) * ($1 - $0) })
            let sampling = StudentSampling(base, teacher, teacherPlan: pool.plan, pool.plan, perDomain: measured.perDomain, seed: settings.seed)
            let psnrs = sampling.psnrs(try sampling.sample(model, weighted, layout: layout, pool: threads))
            return DistillationRecord.DialPoint(scale: Double(teacher.guidance.scale), psnr: median(psnrs))
        }
    }
}

/// weight |output - target|^2 / count, and `scale` times its gradient.
func squaredError(_ output: Matrix, _ target: Matrix, weight: Float, scale: Float, gradient: Matrix) -> Float {
    output.withSpan { output in
        target.withSpan { target in
            gradient.withMutableSpan { gradient in
                let slope = 2 * weight * scale / Float(output.count)
                var sum = 0.0
                for i in output.indices {
                    let error = output[i] - target[i]
                    sum += Double(error * error)
                    gradient[i] = slope * error
                }
                return weight * Float(sum / Double(output.count))
            }
        }
    }
}
