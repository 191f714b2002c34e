import Diffusion
import Foundation
import TensorMath

/// Fits samplers of few steps to a teacher's trajectories (`DiffFit.md`, "Fitted solver"): the times by dynamic
/// programming over those that the teacher itself calls the network at, the coefficients step after step by least squares, each from
/// where the steps before lead.
package struct SolverFit {
    package struct Settings: Sendable {
        /// Steps of the teacher: the finer, the more times there are to choose from.
        package var teacherSteps = 80
        /// Images that coefficients are fitted to, and of those the ones that times are searched with.
        package var images = 512, searchImages = 32
        /// Images that nothing is fitted to: the figures are theirs.
        package var heldOut = 64
        package var seed: UInt64 = 0x50_1E4
        package init() {}
    }

    /// A solver as it was measured.
    package struct Fitted: Sendable {
        package let solver: FittedSolver
        package let family: SolverStepFit.Family
        /// Median over the held-out images of the paired peak signal-to-noise ratio against the teacher, in dB.
        package let psnr: Double
        /// The same of the teacher's own sampler in as many steps.
        package let plainPSNR: Double
        /// Rows of network calls of one image.
        package let rows: Int
        package let images: Int
    }

    private let teacher: any Teacher
    /// The teacher's.
    package let plan: SamplingPlan
    private let settings: Settings
    private let labels: [Int]
    private let channels: Int
    /// Told what goes on: a part of the work between 0 and 1.
    private let onProgress: (Double) -> Void

    /// - Parameters:
    ///   - sampler: the teacher's.
    ///   - classes: class rows to draw images of in turn.
    ///   - channels: of the latents.
    /// - Throws: `DiffusionError` where the sampler does not serve the path.
    package init(
        _ teacher: any Teacher, _ sampler: Sampler, classes: Int, channels: Int, settings: Settings = Settings(),
        onProgress: @escaping (Double) -> Void = { _ in }
    ) throws {
        self.teacher = teacher
        self.settings = settings
        self.channels = channels
        self.onProgress = onProgress
        plan = try SamplingPlan(sampler, steps: settings.teacherSteps, teacher.convention, clips: teacher.clips)
        labels = (0..<(settings.images + settings.heldOut)).map { $0 % max(classes, 1) }
    }

    /// One solver for each number of steps.
    package func fit(steps: [Int]) throws -> [Fitted] {
        let search = TimeSearch(teacher, plan, labels: Array(labels.prefix(settings.searchImages)), seed: settings.seed, channels: channels)
        let places = steps.enumerated().map { index, count in
            onProgress(0.5 * Double(index) / Double(steps.count))
            return search.best(steps: count)
        }
        let all = Trajectories(teacher, plan, labels: labels, seed: settings.seed, keeping: Set(places.flatMap { $0 } + [0, plan.evaluations]))
        return try zip(steps, places).enumerated().map { index, item in
            onProgress(0.5 + Double(index) / Double(steps.count) / 2)
            return try measured(item.0, item.1, all)
        }
    }

    private func measured(_ steps: Int, _ places: [Int], _ all: Trajectories) throws -> Fitted {
        let fittedTo = 0..<settings.images, heldOut = settings.images..<labels.count
        let candidates = SolverStepFit.Family.allCases.map { family in
            let run = SolverRun(all, teacher, plan, places: places, family: family, fittedTo: fittedTo, channels: channels)
            return (family: family, solver: run.solver, psnr: median(heldOut.map { run.psnr(of: $0) }))
        }
        let best = candidates.max { $0.psnr < $1.psnr } ?? candidates[0]
        let truth = all.states(at: plan.evaluations)
        let plain = try SamplingPlan(plan.sampler, steps: steps, teacher.convention, clips: teacher.clips)
        var psnrs: [Double] = []
        teacher.sample(plain, labels: heldOut.map { labels[$0] }, seed: settings.seed, from: heldOut.lowerBound) { call, image, latent in
            if call == plain.evaluations { psnrs.append(peakSignalToNoise(truth[heldOut.lowerBound + image].array, latent.array, isPixels: teacher.clips)) }
        }
        let rows = best.solver.steps.reduce(0) { $0 + (teacher.isGuided(at: $1.time) ? 2 : 1) }
        return Fitted(solver: best.solver, family: best.family, psnr: best.psnr, plainPSNR: median(psnrs), rows: rows, images: settings.images)
    }
}

/// Latents of a teacher on their way, at some or all of its calls.
struct Trajectories {
    let labels: [Int]
    private var kept: [Int: [Matrix]] = [:]

    /// - Parameter keeping: calls whose latents are kept, the number of calls standing for the result; nil keeps all.
    init(_ teacher: any Teacher, _ plan: SamplingPlan, labels: [Int], seed: UInt64, keeping: Set<Int>? = nil) {
        self.labels = labels
        let calls = keeping ?? Set(0...plan.evaluations), count = teacher.latentCount
        for call in calls {
            let memory = Memory(capacity: labels.count * Memory.paddedCount(count))
            kept[call] = labels.map { _ in memory.take(count) }
        }
        let kept = kept
        teacher.sample(plan, labels: labels, seed: seed) { call, image, latent in kept[call]?[image].copy(from: latent) }
    }

    /// - Parameter latents: by call.
    init(labels: [Int], latents: [Int: [Matrix]]) {
        self.labels = labels
        kept = latents
    }

    func states(at call: Int) -> [Matrix] {
        guard let states = kept[call] else { preconditionFailure("latents before call \(call) were not kept") }
        return states
    }
}

/// Images taken through a solver while it is being fitted.
struct SolverRun {
    private(set) var solver: FittedSolver
    private let latents: [Matrix]
    private let truth: [Matrix]
    private let isPixels: Bool

    /// - Parameters:
    ///   - places: the teacher's calls whose times the solver has.
    ///   - fittedTo: the images that coefficients are fitted to.
    init(
        _ trajectories: Trajectories, _ teacher: any Teacher, _ plan: SamplingPlan, places: [Int], family: SolverStepFit.Family, fittedTo: Range<Int>,
        channels: Int
    ) {
        let path = teacher.convention.path, noise = trajectories.states(at: 0), count = teacher.latentCount
        truth = trajectories.states(at: plan.evaluations)
        isPixels = teacher.clips
        let memory = Memory(capacity: 3 * noise.count * Memory.paddedCount(count))
        let latents = noise.map { _ in memory.take(count) }
        var (data, before) = (noise.map { _ in memory.take(count) }, noise.map { _ in memory.take(count) })
        self.latents = latents
        solver = FittedSolver(steps: [])
        if places[0] > 0 {
            solver.start = path.analyticStart(
                from: plan.rules[0].time, to: plan.rules[places[0]].time, Moments(truth[fittedTo], channels: channels))
        }
        for (latent, noise) in zip(latents, noise) {
            latent.copy(from: noise)
            solver.start?.apply(to: latent)
        }
        for (step, place) in places.enumerated() {
            let rule = plan.rules[place], next = step + 1 < places.count ? places[step + 1] : plan.evaluations
            let targets = trajectories.states(at: next)
            teacher.predict(latents, labels: trajectories.labels, time: rule.time) { image, output in
                rule.predictData(latents[image], output, into: data[image])
            }
            let fits = fittedTo.map { image in
                var fit = SolverStepFit(hasPrevious: step > 0)
                fit.add(x: latents[image], m: data[image], m1: before[image], target: targets[image])
                return fit
            }
            let fitted = SolverStepFit.robustStep(
                fits, family, from: rule.time, to: next < plan.evaluations ? plan.rules[next].time : nil, on: path)
            solver.steps.append(fitted)
            for image in latents.indices { fitted.apply(to: latents[image], m: data[image], m1: before[image]) }
            (data, before) = (before, data)
        }
    }

    /// Mean over the images of the logarithm of the mean squared error, as the median of PSNRs goes by: one image that goes elsewhere
    /// does not outweigh the rest.
    var error: Double {
        zip(latents, truth).reduce(0.0) { $0 + log(squaredDistance($1.0, $1.1) + .leastNormalMagnitude) } / Double(latents.count)
    }

    /// Of one image's result against the teacher's, in dB.
    func psnr(of image: Int) -> Double { peakSignalToNoise(truth[image].array, latents[image].array, isPixels: isPixels) }
}
