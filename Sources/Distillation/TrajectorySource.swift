import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import TensorMath

/// A vector for each step of a sampler of few steps: from its own latent, each step is to lead where the teacher's trajectory of the
/// same noise is by then (SFD, arXiv 2409.19681; `DiffFit.md`, "Distilled vectors").
package final class TrajectorySource: DistillationSource, TrainingSource {
    private let solver: FittedSolver
    private let rules: [UpdateRule]
    /// The student's latents and the data as the call before predicted them, and what becomes of both: a line per image of a step.
    private let latents, before, following, data: Matrix
    /// Calls of the teacher at the times of the student's steps, and its end.
    private let calls: [Int]

    /// - Parameters:
    ///   - teacherPlan: of whose calls the solver has its times.
    ///   - solver: how the student's steps use its predictions.
    package init(
        _ base: BaseFile, _ teacher: GuidedTeacher, layout: TunableLayout, teacherPlan: SamplingPlan, solver: FittedSolver, settings: TrainingSettings
    ) throws {
        let plan = try SamplingPlan(solver, teacher.convention, clips: teacher.clips)
        self.solver = solver
        rules = plan.rules
        calls = solver.steps.map { step in teacherPlan.rules.firstIndex { $0.time == step.time } ?? 0 } + [teacherPlan.evaluations]
        let (rows, count) = (settings.imagesPerStep, teacher.latentCount)
        let memory = Memory(capacity: 4 * Memory.paddedCount(rows * count))
        latents = memory.take(rows, count)
        before = memory.take(rows, count)
        following = memory.take(rows, count)
        data = memory.take(rows, count)
        let kept = Set(calls + [0]).sorted()
        // Every trajectory is used four times: making it costs about as much as learning from it then.
        let images = max(32, 256 / teacher.domains.count)
        let pool = TeacherPool.Settings(images: images, stepsPerRound: max(1, 4 * images * teacher.domains.count / settings.imagesPerStep))
        super.init(
            base, teacher, layout: layout, settings: settings,
            pool: TeacherPool(teacher, teacherPlan, keeping: kept, keepsOutputs: false, settings: pool, seed: settings.seed), plan: plan)
    }

    package var updates: Int { solver.steps.count }

    package func batch(step: Int, update: Int, images: Range<Int>, values: TrainableValues, pool threads: ThreadPool) -> TrainingBatch {
        pool.fill(forStep: step)
        let (domain, own) = domain(step: step)
        lay(values.vectors[update], over: domain)
        let places = images.map { own.lowerBound + Int(TrainingDraws(seed: settings.seed, step: step, image: $0).item * Float(own.count)) }
        let noise = pool.states[0]?.latents ?? [], targets = pool.states[calls[update + 1]]?.latents ?? []
        for (image, place) in zip(images, places) {
            if update == 0 {
                latents.row(image).copy(from: noise[place])
                solver.start?.apply(to: latents.row(image))
            } else {
                latents.row(image).copy(from: following.row(image))
                before.row(image).copy(from: data.row(image))
            }
        }
        let first = images.lowerBound, rule = rules[update], coefficients = solver.steps[update]
        return TrainingBatch(
            x: latents.rows(images), times: places.map { _ in convention.embedderTime(rule.time) }, classes: places.map(pool.classRow),
            tunables: student.tunables
        ) { [latents, before, following, data] image, output, scale, gradient in
            let row = first + image, next = following.row(row)
            rule.predictData(latents.row(row), output, into: data.row(row))
            next.copy(from: latents.row(row))
            coefficients.apply(to: next, m: data.row(row), m1: before.row(row))
            let loss = pseudoHuber(next, targets[places[image]], scale: scale * Float(coefficients.m), gradient: gradient)
            rule.takeToOutput(gradient, data: data.row(row))
            return loss
        }
    }
}

/// sqrt(|a - b|^2 + c^2) - c with c = 0.00054 sqrt(count) (arXiv 2310.14189), and `scale` times its gradient at a, over the front of
/// `gradient`; the rest becomes 0.
func pseudoHuber(_ a: Matrix, _ b: Matrix, scale: Float, gradient: Matrix) -> Float {
    let c = 0.00054 * Double(a.count).squareRoot()
    let root = (squaredDistance(a, b) + c * c).squareRoot()
    let slope = scale / Float(root)
    a.withSpan { a in
        b.withSpan { b in
            gradient.withMutableSpan { gradient in
                for i in a.indices { gradient[i] = slope * (a[i] - b[i]) }
                for i in a.count..<max(a.count, gradient.count) { gradient[i] = 0 }
            }
        }
    }
    return Float(root - c)
}
