import AdapterComposer
import AdapterFormat
import AdapterStore
import DiTPipeline
import Diffusion
import Foundation
import SamplingEngine
import TensorMath
import Testing

/// Fitted solvers in the engine: an adapter's own and no other's, and the bytes that an image has alone.
@Suite struct FittedSolverTests {
    private let base: BaseFile
    private let adapters: [BoundAdapter]
    private let solver = FittedSolver(
        steps: [.init(time: 600, x: 0.5, m: 0.5, m1: 0), .init(time: 400, x: 0.4, m: 0.8, m1: -0.2), .init(time: 100, x: 0, m: 1.2, m1: -0.2)],
        start: .init(scale: 0.9, shift: [0.1, -0.1, 0.2]))

    init() throws {
        let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/dit-pixel.safetensors").path
        let base = try BaseFile(path: path)
        self.base = base
        adapters = (0..<2).map { domain in
            BoundAdapter(
                name: "domain-\(domain)", digest: Digest(of: Data("domain \(domain)".utf8)),
                vector: TunableVector(base.vector.values.map { $0 * (1.1 + 0.25 * Float(domain)) }, layout: base.layout), classes: base.classes, grid: nil)
        }
    }

    private func request(_ domain: Int, fitted: Bool, _ interval: ClosedRange<Double> = 0...1) -> SamplingRequest {
        let order = ImageOrder(
            stages: [.init(parts: [.init(adapter: adapters[domain], classIndex: 1)])], seed: 3, index: UInt64(domain),
            guidance: ImageGuidance(.cfg, scale: 2, interval: interval))
        var request = SamplingRequest(client: "test \(domain)", images: [order], sampler: fitted ? .fitted : .ddim, steps: fitted ? 3 : 5)
        if fitted { request.solver = solver }
        return request
    }

    /// Solo and among images of other samplers, steps and guidance.
    @Test func aMixedBatchGivesTheBytesOfSoloRuns() async throws {
        let requests = [request(0, fitted: true), request(1, fitted: false), request(1, fitted: true, 0.5...1), request(0, fitted: false)]
        var alone: [[Float]] = []
        for request in requests {
            alone.append(try await SamplingEngine(base, options: .unbounded, pool: ThreadPool(threads: 1)).sample(request).images[0].latent)
        }
        let engine = try SamplingEngine(base, options: .unbounded, pool: ThreadPool(threads: 2))
        let together = try await withThrowingTaskGroup(of: (Int, [Float]).self) { group in
            for (index, request) in requests.enumerated() { group.addTask { (index, try await engine.sample(request).images[0].latent) } }
            var found = [[Float]](repeating: [], count: requests.count)
            for try await (index, latent) in group { found[index] = latent }
            return found
        }
        #expect(together == alone)
        #expect(alone[0] != alone[2])
        let isFinite = alone[0].allSatisfy(\.isFinite)
        #expect(isFinite)
    }

    @Test func withoutASolverTheEngineRefuses() async throws {
        var plain = request(0, fitted: true)
        plain.solver = nil
        let engine = try SamplingEngine(base, options: .unbounded, pool: ThreadPool(threads: 1))
        await #expect(throws: DiffusionError.noSolver) { try await engine.sample(plain) }
        var other = solver
        other.start?.shift = [0.1, 0.2]
        plain.solver = other
        await #expect(throws: DiffusionError.brokenSolver("its first jump has shifts for 2 channels, and the base has 3")) { try await engine.sample(plain) }
    }

    /// Profiles are found by steps and guidance, and only by the adapter that they lie with.
    @Test func aProfileIsFoundByStepsAndGuidance() throws {
        let guidance = ImageGuidance(.cfg, scale: 3, interval: 0.1...0.8)
        let plan = try SamplingPlan(.dpmpp2m, steps: 50, DiffusionConvention(base))
        func profile(_ solver: FittedSolver, _ guidance: ImageGuidance, psnr: Double) -> SolverProfile {
            SolverProfile(solver, guidance: guidance, family: .free, teacher: plan, psnr: psnr, images: 64)
        }
        var manifest = AdapterManifest(
            name: "one", baseDigest: base.digest, layoutDigest: base.layout.digest, trainableSet: TrainableSet(.difffit, base.configuration),
            classes: base.classes.names, prediction: base.card.prediction, path: base.card.path)
        let two = FittedSolver(steps: Array(solver.steps.suffix(2)))
        manifest.solverProfiles = [profile(solver, guidance, psnr: 30), profile(two, ImageGuidance(.cfg, scale: 3), psnr: 20)]
        // It comes back from its JSON as it was.
        let again = try JSONDecoder().decode(AdapterManifest.self, from: JSONEncoder().encode(manifest))
        #expect(again.solverProfiles == manifest.solverProfiles)
        let catalogue = try AdapterCatalogue(nil, base: base)
        try catalogue.insert(Adapter(manifest: again, vector: base.vector, classes: base.classes), as: "one")
        try catalogue.insert(
            Adapter(
                manifest: AdapterManifest(
                    name: "other", baseDigest: base.digest, layoutDigest: base.layout.digest, trainableSet: TrainableSet(.bitfit, base.configuration),
                    classes: base.classes.names, prediction: base.card.prediction, path: base.card.path), vector: base.vector, classes: base.classes),
            as: "other")
        let (one, other) = (try catalogue.bind(Recipe("one")), try catalogue.bind(Recipe("other")))

        #expect(try catalogue.solver(for: one, steps: 3, guidance: guidance) == BoundSampling(sampler: .fitted, steps: 3, guidance: guidance, solver: solver))
        #expect(try catalogue.solver(for: one, steps: nil, guidance: nil).steps == 3)
        #expect(try catalogue.solver(for: one, steps: 2, guidance: nil).guidance == ImageGuidance(.cfg, scale: 3))
        let error = #expect(throws: SamplingEngineError.self) { try catalogue.solver(for: one, steps: 4, guidance: nil) }
        let sentence = "\(try #require(error))"
        #expect(
            sentence == "'one' has no fitted solver of 4 steps: it has those of 3 steps for guidance cfg 3.0 from 0.1 to 0.8, 2 steps for guidance cfg 3.0")
        #expect(
            throws: SamplingEngineError.noSolverProfile(
                recipe: "one", steps: 3, guidance: ImageGuidance(.cfg, scale: 2),
                has: ["3 steps for guidance cfg 3.0 from 0.1 to 0.8", "2 steps for guidance cfg 3.0"])
        ) {
            try catalogue.solver(for: one, steps: 3, guidance: ImageGuidance(.cfg, scale: 2))
        }
        manifest.solverProfiles?[0].m1.removeLast()
        try catalogue.insert(Adapter(manifest: manifest, vector: base.vector, classes: base.classes), as: "short")
        let short = try catalogue.bind(Recipe("short"))
        #expect(throws: SamplingEngineError.self) { try catalogue.solver(for: short, steps: 3, guidance: nil) }
        #expect(throws: SamplingEngineError.noSolverProfile(recipe: "other", steps: 3, guidance: nil, has: [])) {
            try catalogue.solver(for: other, steps: 3, guidance: nil)
        }
    }
}
