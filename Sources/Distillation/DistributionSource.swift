import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import Foundation
import TensorMath

/// Step vectors on top of trained ones, by distribution matching: where a picture of the student with noise added looks likelier to the
/// teacher than to a network that knows the student's pictures alone, it moves that way (DMD2, arXiv 2405.14867, with the first step left as
/// it was, DP-DMD, arXiv 2602.03139; `DiffFit.md`, "Distilled vectors").
///
/// The last vector of a run is that other network, called fake: the same base and domain with values of its own, trained on the student's
/// pictures four times for each update of the student.
package final class DistributionSource: DistillationSource, TrainingSource {
    private let objective: TrainingObjective
    private let solver: FittedSolver
    private let rules: [UpdateRule]
    /// The student's latents, its predictions of the data, those of the call before, fresh noise, that and data mixed, and two opinions
    /// on the mixture: a line per image.
    private let latents, data, before, noise, mixed, real, fake: Matrix

    /// Updates of the fake for one of the student; steps in which it learns alone first.
    static let fakeUpdates = 4, fakeSteps = 12

    /// - Parameters:
    ///   - teacherPlan: of the teacher that the run is measured against.
    ///   - solver: of the vectors that the run starts from.
    package init(
        _ base: BaseFile, _ teacher: GuidedTeacher, layout: TunableLayout, teacherPlan: SamplingPlan, solver: FittedSolver, settings: TrainingSettings
    ) throws {
        let plan = try SamplingPlan(solver, teacher.convention, clips: teacher.clips)
        objective = TrainingObjective(teacher.convention)
        self.solver = solver
        rules = plan.rules
        let (rows, count) = (settings.batch, teacher.latentCount)
        let memory = Memory(capacity: 7 * Memory.paddedCount(rows * count))
        let take = { memory.take(rows, count) }
        (latents, data, before, noise, mixed, real, fake) = (take(), take(), take(), take(), take(), take(), take())
        let images = max(16, 256 / teacher.domains.count)
        super.init(
            base, teacher, layout: layout, settings: settings,
            pool: TeacherPool(
                teacher, teacherPlan, keeping: [0], keepsOutputs: false,
                settings: .init(images: images, stepsPerRound: max(1, images * teacher.domains.count / settings.batch)), seed: settings.seed), plan: plan)
    }

    private var steps: Int { solver.steps.count }
    package var vectors: Int { steps + 1 }
    package var updates: Int { 1 + Self.fakeUpdates }
    package override var digest: Digest { Digest(of: Data("\(super.digest) distribution \(solver)".utf8)) }

    /// The step whose vector moves: any but the first, which decides what a picture is of; of one step that one.
    private func studentStep(_ step: Int) -> Int {
        steps == 1 ? 0 : min(steps - 1, 1 + Int(Philox(seed: settings.seed, stream: 13 << 58 | UInt64(step)).uniform(0) * Float(steps - 1)))
    }

    package func moves(ofUpdate update: Int, step: Int) -> [VectorMove] {
        [update == 0 ? VectorMove(vector: studentStep(step)) : VectorMove(vector: steps, rate: 2)]
    }

    package func batch(step: Int, update: Int, images: Range<Int>, values: TrainableValues, pool threads: ThreadPool) -> TrainingBatch {
        pool.fill(forStep: step)
        let (domain, own) = domain(step: step)
        // Every update has images of its own.
        let draws = images.map { TrainingDraws(seed: settings.seed &+ UInt64(update), step: step, image: $0) }
        let places = draws.map { own.lowerBound + Int($0.item * Float(own.count)) }
        let classRows = places.map(pool.classRow), isStudent = update == 0
        let last = isStudent ? studentStep(step) : min(steps - 1, Int(draws[0].place * Float(steps)))
        for (row, place) in places.enumerated() {
            latents.row(row).copy(from: pool.states[0]?.latents[place] ?? latents.row(row))
            solver.start?.apply(to: latents.row(row))
            before.row(row).fill(0)
            draws[row].noise.normals(into: noise.row(row))
        }
        for index in 0...last {
            lay(values.vectors[index], over: domain)
            let rule = rules[index]
            teacher.predict(student.shown, pool.domains[domain].classes, places.indices.map(latents.row), classRows: classRows, time: rule.time) {
                [latents, data] row, output in
                rule.predictData(latents.row(row), output, into: data.row(row))
            }
            guard index < last else { break }
            for row in places.indices {
                solver.steps[index].apply(to: latents.row(row), m: data.row(row), m1: before.row(row))
                before.row(row).copy(from: data.row(row))
            }
        }
        return isStudent
            ? studentBatch(step, last, domain, classRows, draws, values) : fakeBatch(domain, classRows, draws, values)
    }

    /// The student's step, with a gradient at its data that is known beforehand.
    private func studentBatch(
        _ step: Int, _ last: Int, _ domain: Int, _ classRows: [Int], _ draws: [TrainingDraws], _ values: TrainableValues
    ) -> TrainingBatch {
        let time = noiseTime(draws[0]), first = teacher.labels(ofDomain: domain).lowerBound, rule = rules[last]
        for row in draws.indices { objective.mix(x0: data.row(row), noise: noise.row(row), t: time, into: mixed.row(row)) }
        let reading = UpdateRule(predictingDataAt: time, convention)
        let shown = draws.indices.map(mixed.row)
        teacher.predict(shown, labels: classRows.map { first + $0 }, time: time) { [mixed, real] row, output in
            reading.predictData(mixed.row(row), output, into: real.row(row))
        }
        lay(values.vectors[steps], over: domain)
        teacher.predict(student.shown, pool.domains[domain].classes, shown, classRows: classRows, time: time) { [mixed, fake] row, output in
            reading.predictData(mixed.row(row), output, into: fake.row(row))
        }
        lay(values.vectors[last], over: domain)
        let isLearning = step >= Self.fakeSteps
        return TrainingBatch(
            x: latents.rows(draws.indices), times: draws.map { _ in convention.embedderTime(rule.time) }, classes: classRows, tunables: student.tunables
        ) { [latents, data, real, fake] row, output, scale, gradient in
            rule.predictData(latents.row(row), output, into: data.row(row))
            let loss = matchingGradient(data.row(row), real: real.row(row), fake: fake.row(row), scale: isLearning ? scale : 0, gradient: gradient)
            rule.takeToOutput(gradient, data: data.row(row))
            return loss
        }
    }

    /// The fake learns to take noise off the student's pictures, by the loss that the base was trained with.
    private func fakeBatch(_ domain: Int, _ classRows: [Int], _ draws: [TrainingDraws], _ values: TrainableValues) -> TrainingBatch {
        let times = draws.map(noiseTime)
        for row in draws.indices { objective.mix(x0: data.row(row), noise: noise.row(row), t: times[row], into: mixed.row(row)) }
        lay(values.vectors[steps], over: domain)
        return TrainingBatch(
            x: mixed.rows(draws.indices), times: times.map(convention.embedderTime), classes: classRows, tunables: student.tunables
        ) { [objective, data, noise, mixed] row, output, scale, gradient in
            objective.loss(
                output: output, x0: data.row(row), noise: noise.row(row), xt: mixed.row(row), t: times[row], scale: scale, gradient: gradient
            ).total
        }
    }

    /// Between 2 and 98 % of the path.
    private func noiseTime(_ draws: TrainingDraws) -> Double { convention.path.time(at: 0.02 + 0.96 * Double(draws.place)) }
}

/// The gradient (fake - real) / mean |data - real| over the number of values, `scale` times, over the front of `gradient`; the rest becomes 0.
/// - Returns: |fake - real|^2 / |real|^2: how far apart the two opinions are.
func matchingGradient(_ data: Matrix, real: Matrix, fake: Matrix, scale: Float, gradient: Matrix) -> Float {
    data.withSpan { data in
        real.withSpan { real in
            fake.withSpan { fake in
                gradient.withMutableSpan { gradient in
                    var (distance, apart, size) = (0.0, 0.0, 0.0)
                    for i in data.indices {
                        distance += Double(abs(data[i] - real[i]))
                        apart += Double((fake[i] - real[i]) * (fake[i] - real[i]))
                        size += Double(real[i] * real[i])
                    }
                    // A mean below the line and the count beside it: what is left is the sum.
                    let slope = scale / Float(max(distance, 1e-8))
                    for i in data.indices { gradient[i] = slope * (fake[i] - real[i]) }
                    for i in data.count..<max(data.count, gradient.count) { gradient[i] = 0 }
                    return Float(apart / max(size, 1e-12))
                }
            }
        }
    }
}
