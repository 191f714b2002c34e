import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import TensorMath

/// What a sparse base lost against the dense one that it was made of: at states of the dense base's own trajectories one row of the sparse base
/// with the vector is to give what the dense base gives, for every domain alike, with a class and without one.
///
/// The trajectories are guided as the teacher is; what is learned, and what a run is measured on, is one row without guidance.
package final class RecoverySource: DistillationSource, TrainingSource {
    private let x, targets: Matrix
    /// Share of the images that are shown without a class, as guidance shows each.
    private static let nullShare: Float = 0.25

    /// - Parameters:
    ///   - base: the sparse base.
    ///   - teacher: over the dense base; its first domain is that base itself.
    ///   - plan: the sampling whose states are learned at.
    package init(_ base: BaseFile, _ teacher: GuidedTeacher, layout: TunableLayout, plan: SamplingPlan, settings: TrainingSettings) {
        // Every state of a trajectory is drawn about once.
        let images = max(8, 192 / teacher.domains.count)
        let pool = TeacherPool.Settings(
            images: images, stepsPerRound: max(1, images * teacher.domains.count * plan.evaluations / settings.imagesPerStep))
        let memory = Memory(capacity: Memory.paddedCount(settings.batch * teacher.latentCount) + Memory.paddedCount(settings.batch * teacher.outputCount))
        x = memory.take(settings.batch, teacher.latentCount)
        targets = memory.take(settings.batch, teacher.outputCount)
        let guidance = teacher.guidance
        teacher.guidance = ImageGuidance(.none, scale: 1)
        super.init(
            base, teacher, layout: layout, settings: settings,
            pool: TeacherPool(teacher, plan, keeping: Array(0..<plan.evaluations), keepsOutputs: false, settings: pool, seed: settings.seed), plan: plan)
        teacher.guidance = guidance
    }

    package var updates: Int { 1 }

    package func batch(step: Int, update: Int, images: Range<Int>, values: TrainableValues, pool threads: ThreadPool) -> TrainingBatch {
        pool.fill(forStep: step)
        let (index, own) = domain(step: step), domain = pool.domains[index], rules = pool.plan.rules
        lay(values.vector, over: index)
        let draws = images.map { TrainingDraws(seed: settings.seed, step: step, image: $0) }
        let places = draws.map { draw in
            (call: min(pool.plan.evaluations - 1, Int(draw.place * Float(pool.plan.evaluations))), image: own.lowerBound + Int(draw.item * Float(own.count)))
        }
        let classRows = zip(draws, places).map { draw, place in
            domain.classes.hasNullRow && draw.dropsLabel(rate: Self.nullShare) ? domain.classes.nullClass : pool.classRow(place.image)
        }
        for (row, place) in places.enumerated() {
            guard let state = pool.states[place.call] else { preconditionFailure("no state of call \(place.call) is kept") }
            x.row(row).copy(from: state.latents[place.image])
        }
        let times = places.map { rules[$0.call].time }
        teacher.predict(domain.vector, domain.classes, places.indices.map(x.row), classRows: classRows, times: times) { [targets] row, output in
            targets.row(row).copy(from: output)
        }
        let convention = convention, targets = targets
        return TrainingBatch(
            x: x, times: places.map { pool.plan.embedderTime($0.call) }, classes: classRows, tunables: student.tunables
        ) { image, output, scale, gradient in
            // The error that the network was trained on: an error of the data is one of the velocity over 1 - t.
            let divisor = convention.prediction == .x0 ? max(1 - times[image], TrainingObjective.leastDivisor) : 1
            return squaredError(output, targets.row(image), weight: Float(1 / (divisor * divisor)), scale: scale, gradient: gradient)
        }
    }
}
