import AdapterFormat
import DiTModel
import Diffusion
import Foundation
import SamplingEngine
import TensorMath
import Testing

/// Guidance, schedules and added predictions: an image is the same in any company, and each is what its formula says.
@Suite struct CompositionTests {
    private let base: BaseFile
    private let adapters: [BoundAdapter]

    init() throws {
        let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/dit-pixel.safetensors").path
        let base = try BaseFile(path: path)
        self.base = base
        adapters = (0..<3).map { domain in
            BoundAdapter(
                name: "domain-\(domain)", digest: Digest(of: Data("domain \(domain)".utf8)),
                vector: TunableVector(base.vector.values.map { $0 * (1.1 + 0.25 * Float(domain)) }, layout: base.layout),
                classes: ClassTable(names: base.classes.names, values: base.classes.values.map { $0 * (1 + 0.1 * Float(domain)) }), grid: nil)
        }
    }

    private func engine(rows: Int = 12, domains: Int = 6, threads: Int = 2) throws -> SamplingEngine {
        var options = EngineOptions.unbounded
        (options.rows, options.domains) = (rows, domains)
        return try SamplingEngine(base, options: options, pool: ThreadPool(threads: threads))
    }

    private func part(_ domain: Int, _ weight: Float = 1, class classIndex: Int = 1) -> ImageOrder.Part {
        ImageOrder.Part(adapter: adapters[domain], classIndex: classIndex, weight: weight)
    }

    private func order(_ stages: [ImageOrder.Stage], _ guidance: ImageGuidance, seed: UInt64 = 1) -> ImageOrder {
        ImageOrder(stages: stages, seed: seed, index: 0, guidance: guidance)
    }

    private func sample(
        _ orders: [ImageOrder], on engine: SamplingEngine? = nil, steps: Int = 6, sampler: Sampler = .ddpm
    ) async throws -> (bits: [[UInt32]], result: SampledImages) {
        var request = SamplingRequest(client: "test", images: orders, sampler: sampler, steps: steps)
        request.traces = true
        let result = try await (engine ?? self.engine()).sample(request)
        return (result.images.map { $0.latent.map(\.bitPattern) }, result)
    }

    /// One of every kind of image.
    private var kinds: [ImageOrder] {
        let one = [ImageOrder.Stage(parts: [part(0)])]
        let two = [ImageOrder.Stage(parts: [part(0)]), ImageOrder.Stage(start: 0.5, parts: [part(2, class: 3)])]
        let sum = [ImageOrder.Stage(parts: [part(0, 0.7), part(1, 0.3, class: 2)])]
        let mixed = [ImageOrder.Stage(parts: [part(1, 1.5), part(2, -0.5)]), ImageOrder.Stage(start: 0.4, parts: [part(0)])]
        return [
            order(one, ImageGuidance(scale: 2)), order(one, ImageGuidance(.domain, scale: 2)), order(one, ImageGuidance(.none, scale: 2)),
            order(one, ImageGuidance(scale: 2, interval: 0.3...0.8)), order(two, ImageGuidance(scale: 2)),
            order(two, ImageGuidance(.domain, scale: 3, interval: 0.5...1)), order(sum, ImageGuidance(scale: 1.5)),
            order(sum, ImageGuidance(.domain, scale: 1.5)), order(mixed, ImageGuidance(scale: 2, interval: 0...0.6)),
        ]
    }

    /// Law 5 for every kind of image, in large and small batches, with many and few slots.
    @Test(arguments: [(4, 3, 1), (12, 4, 2), (32, 16, 2)])
    func aMixedBatchGivesTheBytesOfSoloRuns(rows: Int, domains: Int, threads: Int) async throws {
        var alone: [[UInt32]] = []
        for kind in kinds { alone += try await sample([kind], on: engine(rows: 4, domains: 3, threads: 1)).bits }
        let together = try await sample(kinds.reversed(), on: engine(rows: rows, domains: domains, threads: threads))
        #expect(Array(together.bits.reversed()) == alone)
        #expect(Set(alone).count == kinds.count)
        #expect(together.result.times.batchRows <= rows)
    }

    /// The first latents of a schedule are its first recipe's, and a change takes effect at its step.
    @Test func aScheduleChangesAtItsStep() async throws {
        let guidance = ImageGuidance(scale: 2)
        let first = [ImageOrder.Stage(parts: [part(0)])], second = ImageOrder.Stage(start: 0.5, parts: [part(1)])
        let runs = try await sample([order(first, guidance), order(first + [second], guidance)]).result.latents
        #expect(runs[0][0..<3] == runs[1][0..<3])
        #expect(runs[0][3] != runs[1][3])
        // Where both stages are the same adapter nothing changes.
        let same = try await sample([order(first, guidance), order(first + [ImageOrder.Stage(start: 0.3, parts: [part(0)])], guidance)])
        #expect(same.bits[0] == same.bits[1])
    }

    /// Heun's two calls of a step stay in one stage.
    @Test func aStepOfTwoCallsIsOneStep() throws {
        let plan = try SamplingPlan(.heun, steps: 5, DiffusionConvention(path: .rectifiedFlow, prediction: .x0))
        #expect((0..<plan.evaluations).map(plan.stepsDone) == [0, 0, 1, 1, 2, 2, 3, 3, 4])
    }

    /// One call by hand: the slots, guidance and weights against the engine's first step.
    @Test(arguments: [GuidanceKind.cfg, .domain, .none])
    func theFirstStepIsTheFormula(kind: GuidanceKind) async throws {
        let parts = [part(0, 0.7), part(1, 0.3, class: 2)], scale: Float = 2.5
        let image = order([ImageOrder.Stage(parts: parts)], ImageGuidance(kind, scale: scale))
        let got = try await sample([image], steps: 1, sampler: .ddim).result.latents[0][0]

        let convention = try DiffusionConvention(
            pathNamed: base.card.path, predictionNamed: base.card.prediction, learnSigma: false, timeScale: base.card.timeScale)
        let plan = try SamplingPlan(.ddim, steps: 1, convention, clips: true)
        let count = 3 * 16 * 16
        let state = SamplerState(plan, count: count, seed: 1, image: 0)
        let adapterSlots = AdapterSlots(base.layout, count: 3, classRows: base.classes.rows)
        adapterSlots.install(base.vector, base.classes, slot: 2)
        for domain in 0..<2 { adapterSlots.install(adapters[domain].vector, adapters[domain].classes, slot: domain) }
        let batch = DiTBatch(try InferenceDiT(base), adapterSlots: adapterSlots, rows: 5, pool: ThreadPool(threads: 1))
        let memory = Memory(capacity: 10 * Memory.paddedCount(count))
        let x = memory.take(5, count), out = memory.take(5, count)
        for row in 0..<5 { x.row(row).copy(from: state.latent) }
        let null = base.classes.nullClass
        batch.forward(
            x: x, times: [Float](repeating: state.embedderTime, count: 5), classes: [1, 2, null, null, null], slots: [0, 1, 0, 1, 2], into: out)
        let o = (0..<5).map { out.row($0).array }
        let output = (0..<count).map { i -> Float in
            let sum = 0.7 * o[0][i] + 0.3 * o[1][i]
            switch kind {
            case .none, .distilled: return sum
            case .cfg: return 0.7 * (o[2][i] + scale * (o[0][i] - o[2][i])) + 0.3 * (o[3][i] + scale * (o[1][i] - o[3][i]))
            case .domain: return o[4][i] + scale * (sum - o[4][i])
            }
        }
        out.row(0).copy(from: output)
        state.advance(out.row(0))
        for (a, b) in zip(got, state.latent.array) { #expect(abs(a - b) < 1e-5) }
    }

    /// Outside the interval an image is unguided, and costs its one row.
    @Test func theIntervalIsInNoiseLevels() async throws {
        let one = [ImageOrder.Stage(parts: [part(0)])]
        let latents = try await sample(
            [
                order(one, ImageGuidance(scale: 2)), order(one, ImageGuidance(.none, scale: 1)), order(one, ImageGuidance(scale: 2, interval: 0...0.7)),
                order(one, ImageGuidance(scale: 2, interval: 0...1)),
            ], steps: 10
        ).result.latents
        let plan = try SamplingPlan(.ddpm, steps: 10, DiffusionConvention(path: .vp, prediction: .epsilon))
        let levels = (0..<10).map(plan.noiseLevel)
        #expect(levels == levels.sorted(by: >))
        #expect(levels[0] > 0.99)
        #expect(levels[9] < 0.05)
        let firstGuided = try #require(levels.firstIndex { $0 <= 0.7 })
        #expect(firstGuided > 2)
        #expect(latents[2][0..<firstGuided] == latents[1][0..<firstGuided])
        #expect(latents[2][firstGuided] != latents[1][firstGuided])
        #expect(latents[0] == latents[3])
        let rows = try await sample([order(one, ImageGuidance(scale: 2, interval: 0.9999...1))], steps: 10).result.times.batchRows
        #expect(rows <= 2)
    }

    @Test func whatDoesNotFitIsRefused() async throws {
        let many = order([ImageOrder.Stage(parts: [part(0, 0.5), part(1, 0.25), part(2, 0.25)])], ImageGuidance(scale: 2))
        await #expect(throws: AdmissionError.tooManyRows(rows: 6, limit: 4)) {
            try await engine(rows: 4).submit(SamplingRequest(client: "a", images: [many], sampler: .ddim, steps: 2))
        }
        await #expect(throws: AdmissionError.tooManyAdapters(count: 3, limit: 2)) {
            try await engine(domains: 2).submit(SamplingRequest(client: "a", images: [many], sampler: .ddim, steps: 2))
        }
    }
}
