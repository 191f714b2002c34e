import AdapterComposer
import AdapterFormat
import AdapterStore
import DiTModel
import Diffusion
import Foundation
import SamplingEngine
import TensorMath
import Testing

/// LoRA beside DiffFit, and two resolutions from one base: through the store, the catalogue and the engine.
@Suite struct KindsAndSizesTests {
    private let folder = NSTemporaryDirectory() + "kinds-\(UUID().uuidString)"
    private let base: BaseFile
    private let store: AdapterStore
    private let catalogue: AdapterCatalogue

    init() throws {
        let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/dit-pixel.safetensors").path
        base = try BaseFile(path: path)
        store = try AdapterStore.create(at: folder)
        try store.importBase(FileContent(base.encoding().pieces, digest: base.digest), card: Data())
        catalogue = try AdapterCatalogue(store, base: base)
        try add("plain")
        try add("lora", lowRank: LowRank(rank: 3, scale: 2, targets: Set(LowRank.Linear.allCases), base.configuration))
        try add("other-lora", lowRank: LowRank(ranks: ["blocks.1.attn.qkv": 5], scale: 1))
        try add("large", grid: ImageGrid(size: 32, positionScale: 2))
        try add("large-unscaled", grid: ImageGrid(size: 32, positionScale: 1))
        // 36 tokens, no whole number of the base's tiles of 16.
        try add("between", grid: ImageGrid(size: 24, positionScale: 1.5))
    }

    private func add(_ name: String, lowRank: LowRank? = nil, grid: ImageGrid? = nil) throws {
        let layout = base.layout.over(lowRank)
        var noise = [Float](repeating: 0, count: layout.count)
        Philox(seed: UInt64(name.count), stream: 7).normals(into: &noise)
        let start = base.vector.extended(to: layout).values
        let values = layout.tensors.flatMap { tensor in
            tensor.range.map { start[$0] + (lowRank == nil || tensor.kind == .lowRank ? 0.1 * noise[$0] : 0) }
        }
        var manifest = AdapterManifest(
            name: nil, baseDigest: base.digest, layoutDigest: layout.digest, trainableSet: TrainableSet(lowRank == nil ? .difffit : .lora, base.configuration),
            classes: base.classes.names, prediction: base.card.prediction, path: base.card.path, lowRank: lowRank)
        manifest.resolution = grid?.size
        manifest.positionScale = grid?.positionScale
        let adapter = Adapter(manifest: manifest, vector: TunableVector(values, layout: layout), classes: base.classes)
        let stored = StoredAdapter(
            digest: adapter.digest, manifest: Data(try sortedJSON(manifest).utf8), baseDigest: base.digest, vector: adapter.vector, classes: adapter.classes)
        _ = try store.add(stored, as: name, over: BaseValues(digest: base.digest, layout: base.layout, vector: base.vector))
    }

    private func sample(_ names: [String], rows: Int = 16, _ precision: Precision = .f32) async throws -> [FinishedImage] {
        var options = EngineOptions.unbounded(at: precision)
        (options.rows, options.domains) = (rows, 3)
        let engine = try SamplingEngine(base, options: options, pool: ThreadPool(threads: 2))
        let orders = try names.enumerated().map { index, name in
            ImageOrder(adapter: try catalogue.bind(name).adapter, classIndex: 1, seed: 4, index: UInt64(index), guidanceScale: index == 1 ? 1 : 2)
        }
        return try await engine.sample(SamplingRequest(client: "test", images: orders, sampler: .ddim, steps: 4)).images
    }

    @Test func aStoredLoRAComesBackToTheLastBit() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let entry = try store.lookup("lora")
        let values = try BaseValues(digest: base.digest, layout: base.layout, vector: base.vector)
        let stored = try store.load(entry.digest, over: values)
        #expect(stored.vector.lowRank?.scale == 2)
        #expect(stored.vector.values.count == base.layout.over(stored.vector.lowRank).count)
        #expect(entry.layoutDigest == base.layout.over(stored.vector.lowRank).digest)
        #expect(try store.verify { _ in values }.damaged.isEmpty)
        #expect(try catalogue.bind("lora").adapter.vector == stored.vector)
    }

    /// Kinds and sizes in one batch: each image has the bytes it has in another company.
    @Test func everyImageHasItsOwnBytes() async throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let names = ["lora", "plain", "large", "base", "other-lora", "large-unscaled", "lora", "between"]
        let together = try await sample(names)
        let sides = together.compactMap { $0.picture?.width }
        #expect(sides == [16, 16, 32, 16, 16, 32, 16, 24])
        #expect(together.map(\.latent.count) == sides.map { 3 * $0 * $0 })
        let few = try await sample(names, rows: 2)
        for (a, b) in zip(together, few) { #expect(a.latent.map(\.bitPattern) == b.latent.map(\.bitPattern)) }
        #expect(Set(together.map(\.latent)).count == 8)
    }

    /// A packed matrix serves tiles of any height: every precision makes every size, and nearly the same picture.
    @Test(arguments: Precision.supported)
    func everyPrecisionMakesEverySize(precision: Precision) async throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let names = ["plain", "large", "between"]
        for (exact, rounded) in zip(try await sample(names), try await sample(names, precision)) {
            let power = exact.latent.reduce(0.0) { $0 + Double($1 * $1) }
            let error = zip(exact.latent, rounded.latent).reduce(0.0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
            #expect((error / power).squareRoot() < 0.1, "\(precision), \(exact.picture?.width ?? 0) pixels")
        }
    }

    /// What images of another size need is built when one starts and not when it is asked for, and let go when others need the room.
    @Test func networksOfOtherSizesComeAndGo() async throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let model = try InferenceDiT(base)
        func bytes(_ size: Int) -> Int { DiTBatch.bytes(model, fitting: ImageGrid(size: size, positionScale: 2), rows: 4, threads: 2) }
        func engine(_ limit: Int, queue: Int = 100) throws -> SamplingEngine {
            var options = EngineOptions.unbounded
            (options.rows, options.networkBytes, options.queueImages) = (4, limit, queue)
            return try SamplingEngine(base, options: options, pool: ThreadPool(threads: 2))
        }
        func request(_ name: String, n: Int = 1) throws -> SamplingRequest {
            let order = ImageOrder(adapter: try catalogue.bind(name).adapter, classIndex: 1, seed: 4, index: 0, guidanceScale: 2)
            return SamplingRequest(client: "x", images: [ImageOrder](repeating: order, count: n), sampler: .ddim, steps: 3)
        }
        let full = try engine(bytes(32), queue: 1)
        await #expect(throws: AdmissionError.tooManyImages(count: 2, limit: 1)) { try await full.submit(request("large", n: 2)) }
        #expect(await full.status().otherSizes == 0)

        let small = try engine(bytes(32) - 1)
        await #expect(throws: AdmissionError.self) { try await small.submit(request("large")) }
        #expect(await small.status().otherSizes == 0)

        let one = try engine(bytes(32) + bytes(24) - 1)
        let first = try await one.sample(request("large")).images[0].latent
        #expect(await one.status().otherSizes == 1)
        _ = try await one.sample(request("between"))
        let status = await one.status()
        #expect(status.otherSizes == 1)
        #expect(status.networkBytes == bytes(24))
        #expect(try await one.sample(request("large")).images[0].latent.map(\.bitPattern) == first.map(\.bitPattern))
        // Those that are on their way keep theirs, whatever the limit.
        let both = SamplingRequest(client: "x", images: try request("large").images + request("between").images, sampler: .ddim, steps: 3)
        #expect(try await one.sample(both).images.map(\.latent.count) == [3 * 32 * 32, 3 * 24 * 24])
    }

    @Test func oneImageHasOneResolution() async throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let parts = try ["plain", "large"].map { ImageOrder.Part(adapter: try catalogue.bind($0).adapter, classIndex: 0, weight: 0.5) }
        let engine = try SamplingEngine(base, pool: ThreadPool(threads: 1))
        let mixed = ImageOrder(stages: [.init(parts: parts)], seed: 1, index: 0, guidance: ImageGuidance(scale: 1))
        await #expect(throws: AdmissionError.mixedGrids(first: "plain", second: "large")) {
            try await engine.submit(SamplingRequest(client: "x", images: [mixed], sampler: .ddim, steps: 2))
        }
        var small = ImageOrder(adapter: parts[1].adapter, classIndex: 0, seed: 1, index: 0, guidanceScale: 1)
        small.given = GivenNoise(start: [Float](repeating: 0, count: 768))
        let request = SamplingRequest(client: "x", images: [small], sampler: .ddim, steps: 2)
        await #expect(throws: AdmissionError.wrongNoise(values: 768, wanted: 3072)) { try await engine.submit(request) }
        let image = [Float](repeating: 0, count: 3072)
        small.given = GivenNoise(start: image, steps: [image])
        let short = SamplingRequest(client: "x", images: [small], sampler: .ddpm, steps: 2)
        await #expect(throws: AdmissionError.tooLittleNoise(calls: 1, wanted: 2)) { try await engine.submit(short) }
    }

    /// What a recipe says of itself, asked for at the same strength, makes the same again.
    @Test func theTextIsTheRecipeThatWasAskedFor() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let half = try catalogue.bind(Recipe("plain"), strength: 0.5)
        #expect(half.label == "plain")
        #expect(half.shares.map(\.weight) == [1])
        let again = try catalogue.bind(Recipe(half.text), strength: 0.5)
        #expect(again.digest == half.digest)
        #expect(again.text == half.text)
        #expect(try catalogue.bind(Recipe("0.5*plain")).digest == half.digest)
        #expect(try catalogue.bind(Recipe("plain")).digest != half.digest)
        // Read once each, though it is asked for at two strengths and nothing may stay resident.
        let forgetful = try AdapterCatalogue(store, base: base, budget: 0)
        let (once, twice) = try (forgetful.bind(Recipe("plain+plain>0.5>large")), forgetful.bind(Recipe("plain"), strength: 0.5))
        #expect(once.shares.count == 2)
        #expect(twice.digest == half.digest)
    }

    @Test func aRecipeOfTooManyVectorsIsRefusedBeforeOneIsMade() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let small = try AdapterCatalogue(store, base: base, vectorLimit: 2)
        #expect(try small.bind(Recipe("plain>0.5>0.5*plain>0.7>plain")).stages.count == 3)
        let resident = small.residentBytes
        #expect(throws: AdmissionError.tooManyAdapters(count: 3, limit: 2)) { try small.bind(Recipe("0.1*plain>0.5>0.2*plain>0.7>0.3*plain")) }
        #expect(small.residentBytes == resident)
    }
}
