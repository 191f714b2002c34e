import Diffusion
import Distillation
import Foundation
import TensorMath
import Testing

/// Gaussian data N(mean, deviation^2), whose prediction and whose flow are known in closed form.
private struct GaussianTeacher: Teacher {
    let convention: DiffusionConvention
    let guidance = ImageGuidance(.none, scale: 1)
    let clips = false
    let latentCount = 16
    let mean = 0.3, deviation = 0.5

    init(_ path: DiffusionPath, _ prediction: Prediction) throws { convention = try DiffusionConvention(path: path, prediction: prediction) }

    func predict(_ latents: [Matrix], labels: [Int], time: Double, _ body: (Int, Matrix) -> Void) {
        let level = convention.path.level(time), (a, s) = (level.data, level.noise)
        let out = Memory(capacity: 16).take(16)
        for (image, latent) in latents.enumerated() {
            out.copy(
                from: latent.array.map { value in
                    let x = Double(value), variance = a * a * deviation * deviation + s * s
                    let m = mean + a * deviation * deviation / variance * (x - a * mean)
                    return switch convention.prediction {
                    case .x0: Float(m)
                    case .velocity: Float((m - x) / (1 - time))
                    case .epsilon: Float((x - a * m) / s)
                    }
                })
            body(image, out)
        }
    }

    /// Where the flow takes noise: each point keeps its quantile.
    func end(of noise: [Float]) -> [Double] {
        let level = convention.path.level(convention.path == .rectifiedFlow ? 0 : 999), (a, s) = (level.data, level.noise)
        return noise.map { mean + deviation * (Double($0) - a * mean) / (a * a * deviation * deviation + s * s).squareRoot() }
    }
}

@Suite struct SolverFitTests {
    private func settings(teacherSteps: Int) -> SolverFit.Settings {
        var settings = SolverFit.Settings()
        (settings.images, settings.searchImages, settings.heldOut, settings.teacherSteps) = (48, 16, 16, teacherSteps)
        return settings
    }

    /// Largest error of a solver's images against the closed form.
    private func error(_ plan: SamplingPlan, _ teacher: GaussianTeacher) -> Double {
        var noise: [[Float]] = [], worst = 0.0
        for image in 0..<8 {
            let latent = Memory(capacity: 16).take(16)
            Philox(seed: 9, stream: UInt64(image)).normals(into: latent)
            noise.append(latent.array)
        }
        teacher.sample(plan, labels: [Int](repeating: 0, count: 8), seed: 9) { call, image, latent in
            guard call == plan.evaluations else { return }
            for (found, exact) in zip(latent.array, teacher.end(of: noise[image])) { worst = max(worst, abs(Double(found) - exact)) }
        }
        return worst
    }

    /// On Gaussian data an affine step is exact, so what is left is the teacher's own error.
    @Test(arguments: [(DiffusionPath.rectifiedFlow, Prediction.x0, Sampler.ab2), (.rectifiedFlow, .velocity, .ab2), (.vp, .epsilon, .dpmpp2m)])
    func twoStepsAreExactOnGaussianData(path: DiffusionPath, prediction: Prediction, sampler: Sampler) throws {
        let teacher = try GaussianTeacher(path, prediction)
        let fitted = try SolverFit(teacher, sampler, classes: 1, channels: 1, settings: settings(teacherSteps: 200)).fit(steps: [2])[0]
        #expect(fitted.solver.steps.count == 2)
        #expect(fitted.solver.fault(on: path) == nil)
        #expect(fitted.psnr > fitted.plainPSNR + 10)
        #expect(error(try SamplingPlan(fitted.solver, teacher.convention), teacher) < 5e-3)
        #expect(error(try SamplingPlan(sampler, steps: 2, teacher.convention), teacher) > 2e-2)
    }

    /// The jump to a later time without a network call lands where the flow does.
    @Test(arguments: [(DiffusionPath.rectifiedFlow, 0.0, 0.4), (.vp, 999.0, 797.0)])
    func theAnalyticStartIsTheGaussianFlow(path: DiffusionPath, begin: Double, time: Double) throws {
        let teacher = try GaussianTeacher(path, path.predictions[0])
        let start = path.analyticStart(from: begin, to: time, Moments(mean: [0.3], variance: 0.25))
        let latent = Memory(capacity: 16).take(16)
        Philox(seed: 1, stream: 0).normals(into: latent)
        let noise = latent.array, ends = teacher.end(of: noise), level = path.level(time)
        start.apply(to: latent)
        let spread = (level.data * level.data * 0.25 + level.noise * level.noise).squareRoot()
        for (found, end) in zip(latent.array, ends) {
            // The quantile of the end, at the time's own mean and deviation.
            #expect(abs(Double(found) - (level.data * 0.3 + spread * (end - 0.3) / 0.5)) < 1e-5)
        }
    }

    /// Three numbers that made the targets are found again; of two that cannot be told apart the fit keeps to the step that is consistent.
    @Test func leastSquaresFindsWhatMadeTheTargets() {
        let memory = Memory(capacity: 4 * Memory.paddedCount(64))
        let (x, m, m1, target) = (memory.take(64), memory.take(64), memory.take(64), memory.take(64))
        for (stream, matrix) in [x, m, m1].enumerated() { Philox(seed: 2, stream: UInt64(stream)).normals(into: matrix) }
        target.copy(from: zip(x.array, zip(m.array, m1.array)).map { 0.5 * $0 + 0.75 * $1.0 - 0.25 * $1.1 })
        var fit = SolverStepFit(hasPrevious: true)
        fit.add(x: x, m: m, m1: m1, target: target)
        let free = fit.step(.free, from: 0.2, to: 0.6, on: .rectifiedFlow)
        #expect(abs(free.x - 0.5) < 1e-6)
        #expect(abs(free.m - 0.75) < 1e-6)
        #expect(abs(free.m1 + 0.25) < 1e-6)
        // x = 0.4 / 0.8 and m + m1 = 0.6 - 0.5 0.2 = 0.5 are what the times give; 0.75 - 0.25 fits them.
        let consistent = fit.step(.consistent, from: 0.2, to: 0.6, on: .rectifiedFlow)
        #expect(abs(consistent.x - 0.5) < 1e-12)
        #expect(abs(consistent.m - 0.75) < 1e-6)
        #expect(abs(consistent.m1 + 0.25) < 1e-6)

        var same = SolverStepFit(hasPrevious: true)
        same.add(x: x, m: m, m1: m, target: target)
        #expect(same.step(.free, from: 0.2, to: 0.6, on: .rectifiedFlow) == FittedSolver.Step(time: 0.2, x: 0.5, m: 0.5, m1: 0))
    }

    @Test(
        arguments: [
            ([], "0 steps"), ([0.5, 0.2], "noise to data"), ([0, 1], "noise to data"), ([0, .nan], "finite"),
        ] as [([Double], String)])
    func aBrokenSolverIsRefused(times: [Double], reason: String) throws {
        let solver = FittedSolver(steps: times.map { .init(time: $0, x: 0.5, m: 0.5, m1: 0) })
        let convention = try DiffusionConvention(path: .rectifiedFlow, prediction: .x0)
        let error = #expect(throws: DiffusionError.self) { try SamplingPlan(solver, convention) }
        let sentence = "\(try #require(error))"
        #expect(sentence.contains(reason))
    }

    @Test func withoutASolverFittedIsRefused() throws {
        #expect(throws: DiffusionError.noSolver) { try SamplingPlan(.fitted, steps: 4, .dit) }
    }
}
