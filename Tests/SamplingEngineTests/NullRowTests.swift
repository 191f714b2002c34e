import AdapterComposer
import AdapterFormat
import AdapterStore
import DiTModel
import Diffusion
import Foundation
import SamplingEngine
import TensorMath
import Testing

/// Networks that were trained without dropping labels: what leans on a class that stands for none is refused, the rest works.
@Suite struct NullRowTests {
    private let base: BaseFile
    private let with, without: BoundAdapter

    init() throws {
        let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/dit-pixel.safetensors").path
        base = try BaseFile(path: path)
        let own = base.classes
        let table = ClassTable.withoutNullRow(names: own.names, values: Array(own.values.dropLast(own.width)), width: own.width)
        with = BoundAdapter(base)
        without = BoundAdapter(name: "without", digest: Digest(of: Data("without".utf8)), vector: base.vector, classes: table, grid: nil)
    }

    private func sample(_ adapter: BoundAdapter, _ guidance: ImageGuidance, classIndex: Int = 1) async throws -> [Float] {
        let engine = try SamplingEngine(base, options: .unbounded, pool: ThreadPool(threads: 1))
        let part = ImageOrder.Part(adapter: adapter, classIndex: classIndex)
        let order = ImageOrder(stages: [ImageOrder.Stage(parts: [part])], seed: 3, index: 0, guidance: guidance)
        return try await engine.sample(SamplingRequest(client: "test", images: [order], sampler: .ddim, steps: 2)).images[0].latent
    }

    @Test func guidanceByTheNullClassIsRefusedAndTheRestWorks() async throws {
        await #expect(throws: AdmissionError.noNullRow(adapter: "without", isBase: false)) { _ = try await sample(without, ImageGuidance(.cfg, scale: 3)) }
        await #expect(throws: AdmissionError.noNullRow(adapter: "without", isBase: false)) {
            _ = try await sample(without, ImageGuidance(.none, scale: 1), classIndex: base.classes.nullClass)
        }
        #expect(AdmissionError.noNullRow(adapter: "x", isBase: false).description.contains("none or domain"))
        for guidance in [ImageGuidance(.none, scale: 1), ImageGuidance(.domain, scale: 2), ImageGuidance(.cfg, scale: 1)] {
            let (image, same) = (try await sample(without, guidance), try await sample(with, guidance))
            #expect(image.allSatisfy { $0.isFinite })
            #expect(image == same)
        }
    }

    /// Through a store and a sum, a table keeps its absence.
    @Test func absenceSurvivesStoreAndSum() throws {
        let folder = NSTemporaryDirectory() + "null-row-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let store = try AdapterStore.create(at: folder)
        try store.importBase(FileContent(base.encoding().pieces, digest: base.digest), card: Data(try sortedJSON(base.card).utf8))
        let values = try BaseValues(digest: base.digest, layout: base.layout, vector: base.vector)
        for (name, classes, factor) in [("ten", without.classes, Float(1.1)), ("all", base.classes, 1.2)] {
            let manifest = AdapterManifest(
                name: nil, baseDigest: base.digest, layoutDigest: base.layout.digest, trainableSet: TrainableSet(.difffit, base.configuration),
                classes: classes.names,
                prediction: base.card.prediction, path: base.card.path)
            let adapter = Adapter(manifest: manifest, vector: TunableVector(base.vector.values.map { $0 * factor }, layout: base.layout), classes: classes)
            _ = try store.add(
                StoredAdapter(
                    digest: adapter.digest, manifest: Data(try sortedJSON(manifest).utf8), baseDigest: base.digest, vector: adapter.vector, classes: classes),
                as: name, over: values)
        }
        let catalogue = try AdapterCatalogue(store, base: base)
        #expect(try catalogue.bind("ten").adapter.classes == without.classes)
        #expect(try !catalogue.bind("ten").adapter.classes.hasNullRow)
        let sum = try #require(try catalogue.bind(Recipe("0.5*ten+0.5*all")).adapter)
        #expect(!sum.classes.hasNullRow)
        #expect(sum.classes.names.count == 2 * base.classes.names.count)
        #expect(sum.vector.values.allSatisfy { $0.isFinite })
        #expect(throws: ComposerError.self) { _ = try ClassChoice("null", in: sum.classes, domain: "x") }
        #expect(try catalogue.bind(Recipe("0.5*all+0.5*base")).adapter?.classes.hasNullRow == true)
    }

    /// A manifest that cannot be read is a fault that names it, and no default.
    @Test func anUnreadableManifestIsAFault() throws {
        let folder = NSTemporaryDirectory() + "manifest-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let store = try AdapterStore.create(at: folder)
        try store.importBase(FileContent(base.encoding().pieces, digest: base.digest), card: Data("{\"name\": 3}".utf8))
        let values = try BaseValues(digest: base.digest, layout: base.layout, vector: base.vector)
        let digest = Digest(of: Data("x".utf8))
        _ = try store.add(
            StoredAdapter(digest: digest, manifest: Data("{\"schema_version\":1}".utf8), baseDigest: base.digest, vector: base.vector, classes: base.classes),
            as: "odd", over: values)
        let catalogue = try AdapterCatalogue(store, base: base)
        for body in [
            { _ = try catalogue.bind("odd") }, { _ = try catalogue.bind(Recipe("0.5*odd+0.5*base")) }, { _ = try store.lookup("odd").decodedManifest() },
        ] {
            let thrown = #expect(throws: StoreError.self, performing: body)
            #expect(thrown.map { "\($0)".contains("manifest of the adapter \(digest.short) is damaged: '") } == true, "\(String(describing: thrown))")
        }
        let thrown = #expect(throws: StoreError.self) { _ = try store.listBases()[0].readCard() }
        #expect(thrown.map { "\($0)".contains("'name' is not of the kind") } == true)
    }
}
