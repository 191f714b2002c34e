import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import Foundation
import TensorMath

/// What the vectors of a sampler's steps learn (`DiffFit.md`, "Distilled vectors").
package enum StepObjective: String, Sendable, CaseIterable {
    /// From its own latent, each step leads where the teacher's trajectory of the same noise is by then (SFD, arXiv 2409.19681).
    case trajectory
    /// On straight lines from noise to what the teacher makes of it, each step predicts that end. The noise is drawn anew at first and then
    /// the teacher's own (annealed reflow). Over the last third of the run each step predicts from its own latent, half of the images
    /// the teacher's end, the others what the teacher makes of them from a point on the step's own line (flow-guided distillation;
    /// both SlimFlow, arXiv 2407.12718).
    case reflow
    /// At the teacher's latent, each step predicts the data as the next step does at the teacher's next latent, and the last the teacher's
    /// image (latent consistency, arXiv 2310.04378), and if asked for pictures that are hard to tell from the teacher's.
    case consistency

    /// The solver that its steps are run by: a fitted one, or first order at the same times.
    package func solver(_ fitted: FittedSolver, on path: DiffusionPath) -> FittedSolver {
        self == .trajectory ? fitted : .firstOrder(times: fitted.steps.map(\.time), start: fitted.start, on: path)
    }
}

/// A vector for each step of a sampler of few steps, guidance included.
package final class StepSource: DistillationSource, TrainingSource {
    package let objective: StepObjective
    private let solver: FittedSolver
    private let rules: [UpdateRule]
    /// What the network is shown, the data as the call before predicted them, what becomes of both, and what is aimed at: a line per image of a step.
    private let latents, before, following, data, targets: Matrix
    /// Calls of the teacher at the times of the student's steps, and its end.
    private let calls: [Int]
    private let adversarial: (share: Float, discriminator: FeatureDiscriminator)?

    /// - Parameters:
    ///   - teacherPlan: of whose calls the solver has its times.
    ///   - solver: how the student's steps use its predictions.
    ///   - adversarial: share of the loss that asks for pictures which are hard to tell from the teacher's.
    package init(
        _ base: BaseFile, _ teacher: GuidedTeacher, layout: TunableLayout, teacherPlan: SamplingPlan, _ objective: StepObjective = .trajectory,
        adversarial: Float = 0, solver: FittedSolver, settings: TrainingSettings, pool threads: ThreadPool
    ) throws {
        let plan = try SamplingPlan(solver, teacher.convention, clips: teacher.clips)
        self.objective = objective
        self.solver = solver
        rules = plan.rules
        calls = solver.steps.map { step in teacherPlan.rules.firstIndex { $0.time == step.time } ?? 0 } + [teacherPlan.evaluations]
        let (rows, count) = (settings.imagesPerStep, teacher.latentCount)
        let memory = Memory(capacity: 5 * Memory.paddedCount(rows * count))
        latents = memory.take(rows, count)
        before = memory.take(rows, count)
        following = memory.take(rows, count)
        data = memory.take(rows, count)
        targets = memory.take(rows, count)
        self.adversarial =
            adversarial > 0
            ? (adversarial, try FeatureDiscriminator(base, convention: teacher.convention, images: settings.batch, pool: threads)) : nil
        // Every trajectory is used four times: making it costs about as much as learning from it then.
        let images = max(32, 256 / teacher.domains.count)
        let pool = TeacherPool.Settings(images: images, stepsPerRound: max(1, 4 * images * teacher.domains.count / settings.imagesPerStep))
        super.init(
            base, teacher, layout: layout, settings: settings,
            pool: TeacherPool(teacher, teacherPlan, keeping: Set(calls + [0]).sorted(), keepsOutputs: false, settings: pool, seed: settings.seed), plan: plan)
    }

    package var updates: Int { solver.steps.count }
    package override var digest: Digest {
        objective == .trajectory ? super.digest : Digest(of: Data("\(super.digest) \(objective.rawValue) \(adversarial?.share ?? 0)".utf8))
    }

    package func batch(step: Int, update: Int, images: Range<Int>, values: TrainableValues, pool threads: ThreadPool) -> TrainingBatch {
        pool.fill(forStep: step)
        let (domain, own) = domain(step: step)
        let draws = images.map { TrainingDraws(seed: settings.seed, step: step, image: $0) }
        let places = draws.map { own.lowerBound + Int($0.item * Float(own.count)) }
        let share = Double(step) / Double(settings.steps)
        var term: AdversarialTerm?
        switch objective {
        case .trajectory: takeOwnLatents(update, images, places, aim: calls[update + 1])
        case .reflow where share >= 2.0 / 3:
            takeOwnLatents(update, images, places, aim: pool.plan.evaluations)
            aimFromOwnLines(update, images, places, domain, values, draws[0])
        case .reflow: takeLines(update, images, places, draws, share: share)
        case .consistency:
            takeTeachersLatents(update, images, places, domain, values)
            if let adversarial {
                let end = states(at: pool.plan.evaluations)
                predict(update, images.map(latents.row), places, domain, values, into: images.map(data.row))
                term = adversarial.discriminator.term(
                    share: adversarial.share, student: images.map(data.row), teacher: places.map { end[$0] }, draws)
            }
        }
        lay(values.vectors[update], over: domain)
        let first = images.lowerBound, rule = rules[update], coefficients = solver.steps[update], isTrajectory = objective == .trajectory
        return TrainingBatch(
            x: latents.rows(images), times: places.map { _ in convention.embedderTime(rule.time) }, classes: places.map(pool.classRow),
            tunables: student.tunables
        ) { [latents, before, following, data, targets, term] image, output, scale, gradient in
            let row = first + image, next = following.row(row)
            rule.predictData(latents.row(row), output, into: data.row(row))
            next.copy(from: latents.row(row))
            coefficients.apply(to: next, m: data.row(row), m1: before.row(row))
            var loss = pseudoHuber(
                isTrajectory ? next : data.row(row), targets.row(row), scale: isTrajectory ? scale * Float(coefficients.m) : scale, gradient: gradient)
            if let term { loss = term.added(to: loss, image, scale: scale, gradient: gradient) }
            rule.takeToOutput(gradient, data: data.row(row))
            return loss
        }
    }

    private func states(at call: Int) -> [Matrix] { pool.states[call]?.latents ?? [] }

    /// The data as an update's vector predicts them, without a gradient.
    /// - Parameter data: may be the latents.
    private func predict(
        _ update: Int, _ latents: [Matrix], _ places: [Int], _ domain: Int, _ values: TrainableValues, into data: [Matrix]
    ) {
        lay(values.vectors[update], over: domain)
        let rule = rules[update]
        teacher.predict(student.shown, pool.domains[domain].classes, latents, classRows: places.map(pool.classRow), time: rule.time) { image, output in
            rule.predictData(latents[image], output, into: data[image])
        }
    }

    /// The student's latents as its steps before have left them, and the teacher's at one of its calls.
    private func takeOwnLatents(_ update: Int, _ images: Range<Int>, _ places: [Int], aim: Int) {
        let noise = states(at: 0), next = states(at: aim)
        for (image, place) in zip(images, places) {
            if update == 0 {
                latents.row(image).copy(from: noise[place])
                solver.start?.apply(to: latents.row(image))
            } else {
                latents.row(image).copy(from: following.row(image))
                before.row(image).copy(from: data.row(image))
            }
            targets.row(image).copy(from: next[place])
        }
    }

    /// Latents on the line from noise to the teacher's image, and that image.
    /// - Parameter share: of the run that is done; over the first third the noise becomes the teacher's own.
    private func takeLines(_ update: Int, _ images: Range<Int>, _ places: [Int], _ draws: [TrainingDraws], share: Double) {
        let noise = states(at: 0), end = states(at: pool.plan.evaluations), level = convention.path.level(rules[update].time)
        let fresh = Float(max(0, 1 - 3 * share)), kept = (1 - fresh * fresh).squareRoot()
        for (offset, (image, place)) in zip(images, places).enumerated() {
            let row = latents.row(image)
            draws[offset].noise.normals(into: row)
            row.withMutableSpan { x in
                noise[place].withSpan { z in
                    end[place].withSpan { data in
                        for i in x.indices { x[i] = Float(level.data) * data[i] + Float(level.noise) * (fresh * x[i] + kept * z[i]) }
                    }
                }
            }
            targets.row(image).copy(from: end[place])
        }
    }

    /// The teacher's latents, and the data as the next step's vector predicts them at the teacher's next latents.
    private func takeTeachersLatents(_ update: Int, _ images: Range<Int>, _ places: [Int], _ domain: Int, _ values: TrainableValues) {
        let now = states(at: calls[update]), next = states(at: calls[update + 1])
        for (image, place) in zip(images, places) {
            latents.row(image).copy(from: now[place])
            targets.row(image).copy(from: next[place])
        }
        guard update + 1 < updates else { return }
        predict(update + 1, images.map(targets.row), places, domain, values, into: images.map(targets.row))
    }

    /// Every other image aims at what the teacher predicts from a point on the line that the step itself takes.
    private func aimFromOwnLines(
        _ update: Int, _ images: Range<Int>, _ places: [Int], _ domain: Int, _ values: TrainableValues, _ draws: TrainingDraws
    ) {
        let chosen = zip(images, places).filter { ($0.0 - images.lowerBound) % 2 == 1 }
        let own = chosen.map(\.1), points = chosen.map { targets.row($0.0) }, ends = chosen.map { data.row($0.0) }
        let now = rules[update].time, share = 0.2 + 0.6 * Double(draws.place)
        let time = convention.path == .vp ? (now * (1 - share)).rounded(.down) : now + share * (1 - now)
        predict(update, chosen.map { latents.row($0.0) }, own, domain, values, into: ends)
        let line = FittedSolver.Step(firstOrderFrom: now, to: convention.path.level(time), on: convention.path)
        for (index, (row, _)) in chosen.enumerated() {
            points[index].copy(from: latents.row(row))
            line.apply(to: points[index], m: ends[index], m1: ends[index])
        }
        let reading = UpdateRule(predictingDataAt: time, convention, clips: teacher.clips), first = teacher.labels(ofDomain: domain).lowerBound
        teacher.predict(points, labels: own.map { first + pool.classRow($0) }, time: time) { image, output in
            reading.predictData(points[image], output, into: points[image])
        }
    }
}

extension DiffusionPath {
    /// t at a share of the way from noise to data.
    func time(at share: Double) -> Double { self == .vp ? ((1 - share) * Double(VPSchedule.trainingSteps - 1)).rounded() : share }
}

extension FittedSolver.Step {
    /// Exact where the data are predicted alike all the way.
    init(firstOrderFrom time: Double, to next: PathLevel, on path: DiffusionPath) {
        let now = path.level(time), x = next.noise / now.noise
        self.init(time: time, x: x, m: next.data - x * now.data, m1: 0)
    }
}

extension FittedSolver {
    /// Steps that are exact where the data are predicted alike all along: first order.
    package static func firstOrder(times: [Double], start: Start?, on path: DiffusionPath) -> FittedSolver {
        let steps = times.indices.map { index in
            Step(
                firstOrderFrom: times[index], to: index + 1 < times.count ? path.level(times[index + 1]) : PathLevel(data: 1, noise: 0), on: path)
        }
        return FittedSolver(steps: steps, start: start)
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
