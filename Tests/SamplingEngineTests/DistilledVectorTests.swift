import AdapterComposer
import AdapterFormat
import DiTModel
import Diffusion
import Foundation
import SamplingEngine
import TensorMath
import Testing

/// Distilled vectors in recipes: what is sampled, what is demanded, and the bytes that an image has alone.
@Suite struct DistilledVectorTests {
    private let base: BaseFile
    private let catalogue: AdapterCatalogue
    private static let times = [600.0, 400, 100]

    init() throws {
        let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/dit-pixel.safetensors").path
        let base = try BaseFile(path: path)
        self.base = base
        catalogue = try AdapterCatalogue(nil, base: base)
        try insert("birds", scale: 1.1)
        try insert("art", scale: 0.9)
        try insert("guide", scale: 1.05, Self.record(.guidance))
        try insert("turbo", scale: 1.02, Self.record(.steps))
    }

    private static func record(_ role: DistillationRecord.Role, domains: [String] = ["birds", "art"]) -> DistillationRecord {
        var record = DistillationRecord(
            role: role, method: "test", domains: domains.map { .init(name: $0, digest: Digest(of: Data($0.utf8))) }, guidance: "cfg", guidanceScale: 3,
            guidanceInterval: [0.1, 0.8])
        record.dial = [.init(scale: 1.5, psnr: 40), .init(scale: 4, psnr: 35)]
        guard role == .steps else { return record }
        record.solver = SolverProfile(
            times: times, x: [0.5, 0.4, 0], m: [0.5, 0.8, 1.2], m1: [0, -0.2, -0.2], startScale: 0.9, startShift: [0.1, -0.1, 0.2], guidance: "cfg",
            guidanceScale: 3, guidanceInterval: [0.1, 0.8], family: "free", teacherSampler: "ddim", teacherSteps: 40, psnr: 30, images: 64)
        return record
    }

    /// Each step's vector differs from the others.
    private func insert(_ name: String, scale: Float, _ record: DistillationRecord? = nil) throws {
        let layout = base.layout.repeated(steps: record?.steps)
        let values = base.vector.extended(to: layout, steps: record?.steps).values.enumerated().map { $1 * (scale + 0.03 * Float($0 / base.layout.count)) }
        let classes = record == nil ? base.classes : ClassTable(names: [], values: Array(base.classes.values.suffix(base.classes.width)))
        var manifest = AdapterManifest(
            name: name, baseDigest: base.digest, layoutDigest: layout.digest, trainableSet: TrainableSet(.difffit, base.configuration),
            classes: classes.names, prediction: base.card.prediction, path: base.card.path)
        manifest.distillation = record
        try catalogue.insert(Adapter(manifest: manifest, vector: TunableVector(values, layout: layout), classes: classes), as: name)
    }

    private func settle(_ recipe: String, _ asked: AskedSampling = AskedSampling(), strength: Double = 1) throws -> SettledSampling {
        try catalogue.settle(Recipe(recipe), asked, strength: strength)
    }

    private func request(_ recipe: String, _ asked: AskedSampling = AskedSampling(), index: UInt64 = 0) throws -> SamplingRequest {
        let settled = try settle(recipe, asked)
        let (stages, how) = (try settled.recipe.choosing(class: "class:1").stages, settled.sampling)
        var request = SamplingRequest(
            client: recipe, images: [ImageOrder(stages: stages, seed: 3, index: index, guidance: how.guidance)], sampler: how.sampler, steps: how.steps)
        request.solver = how.solver
        return request
    }

    private func latent(_ request: SamplingRequest) async throws -> [Float] {
        try await SamplingEngine(base, options: .unbounded, pool: ThreadPool(threads: 1)).sample(request).images[0].latent
    }

    /// Laws 1 and 3: step vectors, one-row guidance and guided pairs in one batch give what each gives alone, whatever slots were swapped.
    @Test func aMixedBatchGivesTheBytesOfSoloRuns() async throws {
        let plain = AskedSampling(steps: 5, scale: 2)
        let requests = [
            try request("birds+turbo"), try request("birds", plain), try request("0.5*birds+0.5*art+turbo", index: 1),
            try request("art", AskedSampling(steps: 4, kind: .distilled)), try request("art+turbo", index: 2), try request("art", plain, index: 3),
        ]
        var alone: [[Float]] = []
        for request in requests { alone.append(try await latent(request)) }
        var options = EngineOptions.unbounded
        options.domains = 6
        let engine = try SamplingEngine(base, options: options, pool: ThreadPool(threads: 2))
        let together = try await withThrowingTaskGroup(of: (Int, [Float]).self) { group in
            for (index, request) in requests.enumerated() { group.addTask { (index, try await engine.sample(request).images[0].latent) } }
            var found = [[Float]](repeating: [], count: requests.count)
            for try await (index, latent) in group { found[index] = latent }
            return found
        }
        #expect(together == alone)
        #expect(Set(alone).count == alone.count)
    }

    /// Call i runs with the domain and the i-th vector, one row, by the solver of the record: the same by hand.
    @Test func everyStepRunsItsOwnVector() async throws {
        let found = try await latent(request("birds+turbo"))
        let settled = try settle("birds+turbo"), solver = try #require(settled.sampling.solver)
        let plan = try SamplingPlan(solver, DiffusionConvention(base), clips: true)
        let count = base.configuration.inChannels * base.configuration.inputSize * base.configuration.inputSize
        let state = SamplerState(plan, count: count, seed: 3, image: 0)
        let slots = AdapterSlots(base.layout, count: 1, classRows: base.classes.rows)
        let batch = DiTBatch(try InferenceDiT(base), adapterSlots: slots, rows: 1, pool: ThreadPool(threads: 1))
        let memory = Memory(capacity: 2 * Memory.paddedCount(count))
        let x = memory.take(count), out = memory.take(count)
        for step in 0..<3 {
            let values = base.vector.values.map { value in
                let domain = value * 1.1, own = value * (1.02 + 0.03 * Float(step))
                return Float(Double(value) + (Double(domain) - Double(value)) + (Double(own) - Double(value)))
            }
            slots.install(TunableVector(values, layout: base.layout), base.classes, slot: 0)
            x.copy(from: state.latent)
            batch.forward(x: x, times: [state.embedderTime], classes: [1], slots: [0], into: out)
            state.advance(out)
        }
        for (a, b) in zip(found, state.latent.array) { #expect(abs(a - b) < 1e-4) }
        let rows = try settle("birds+turbo").recipe.stages.count
        #expect(rows == 3)
    }

    /// `guidance: "distilled"` is the store's vector at the weight that the scale stands for.
    @Test func theDialIsAWeight() throws {
        let half = try settle("birds", AskedSampling(kind: .distilled, scale: 2))
        let written = try settle("birds+0.5*guide")
        #expect(half.recipe.text == written.recipe.text)
        #expect(half.recipe.digest == written.recipe.digest)
        #expect(half.sampling.guidance == ImageGuidance(.distilled, scale: 2, interval: 0.1...0.8))
        #expect(half.sampling == written.sampling)
        #expect(try settle("birds", AskedSampling(kind: .distilled)).recipe.digest == settle("birds+guide").recipe.digest)
        // Said again of what was made, it is the same.
        #expect(try settle(half.recipe.text, AskedSampling(kind: .distilled, scale: 2)).recipe.digest == half.recipe.digest)
        // What draws a domain to the base leaves the guidance as it was asked for.
        let drawn = try settle("birds", AskedSampling(kind: .distilled, scale: 2), strength: 0.5)
        #expect(drawn.recipe.digest == (try settle("0.5*birds+0.5*guide").recipe.digest))
        #expect(try settle(drawn.recipe.text, AskedSampling(kind: .distilled, scale: 2), strength: 0.5).recipe.digest == drawn.recipe.digest)
        #expect(try settle("birds", AskedSampling(kind: .distilled, scale: 2), strength: 0).recipe.text == settle("birds").recipe.text)
    }

    @Test func aVectorOfTheDomainItselfGoesFirst() throws {
        let birds = try catalogue.bind("birds").adapter.digest
        var record = Self.record(.guidance, domains: ["birds"])
        record.domains[0].digest = birds
        try insert("birds-guide", scale: 1.2, record)
        #expect(try settle("birds", AskedSampling(kind: .distilled)).recipe.shares.map(\.name).contains("birds-guide"))
        #expect(try settle("art", AskedSampling(kind: .distilled)).recipe.shares.map(\.name).contains("guide"))
    }

    @Test func demandsAreKept() throws {
        let settled = try settle("0.7*birds+0.3*art+turbo")
        #expect(settled.sampling.sampler == .fitted)
        #expect(settled.sampling.steps == 3)
        #expect(settled.sampling.guidance.kind == .distilled)
        #expect(settled.recipe.classNames == ["art", "birds"].flatMap { domain in base.classes.names.map { "\(domain)/\($0)" } })
        #expect(try settle("birds+turbo", AskedSampling(sampler: .fitted, steps: 3, kind: GuidanceKind.none)).sampling == settled.sampling)
        #expect(throws: SamplingDemandError.otherSteps(recipe: "birds+turbo", steps: 3)) { try settle("birds+turbo", AskedSampling(steps: 4)) }
        #expect(throws: SamplingDemandError.otherSteps(recipe: "birds+turbo", steps: 3)) { try settle("birds+turbo", AskedSampling(sampler: .ddim)) }
        #expect(throws: SamplingDemandError.self) { try settle("birds+guide", AskedSampling(kind: .cfg)) }
        #expect(throws: SamplingDemandError.self) { try settle("birds+guide", AskedSampling(scale: 2)) }
        #expect(throws: SamplingDemandError.self) { try settle("birds+guide", AskedSampling(kind: .distilled, scale: 2)) }
        #expect(throws: SamplingDemandError.self) { try settle("birds", AskedSampling(kind: .distilled, interval: 0...1)) }
        #expect(throws: SamplingDemandError.offTheDial(vector: "guide", scale: 5, range: 1...4)) {
            try settle("birds", AskedSampling(kind: .distilled, scale: 5))
        }
        let empty = try AdapterCatalogue(nil, base: base)
        #expect(throws: SamplingDemandError.noGuidanceVector(recipe: "base")) { try empty.settle(Recipe("base"), AskedSampling(kind: .distilled)) }
    }

    /// More vectors than there are slots for are refused before they are composed.
    @Test func stepsCountAsVectors() throws {
        let small = try AdapterCatalogue(nil, base: base, vectorLimit: 2)
        var manifest = AdapterManifest(
            name: "turbo", baseDigest: base.digest, layoutDigest: base.layout.repeated(steps: 3).digest,
            trainableSet: TrainableSet(.difffit, base.configuration), classes: [], prediction: base.card.prediction, path: base.card.path)
        manifest.distillation = Self.record(.steps)
        let layout = base.layout.repeated(steps: 3)
        let values = base.vector.extended(to: layout, steps: 3).values.enumerated().map { $1 * (1 + 0.1 * Float($0 / base.layout.count)) }
        try small.insert(
            Adapter(
                manifest: manifest, vector: TunableVector(values, layout: layout),
                classes: ClassTable(names: [], values: Array(base.classes.values.suffix(base.classes.width)))), as: "turbo")
        #expect(throws: AdmissionError.tooManyAdapters(count: 3, limit: 2)) { try small.settle(Recipe("base+turbo"), AskedSampling()) }
    }
}
