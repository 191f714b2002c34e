import AdapterFormat
import AdapterStore
import Foundation
import SamplingEngine
import Testing

@Suite struct AdapterCatalogueTests {
    private let folder = NSTemporaryDirectory() + "catalogue-\(UUID().uuidString)"
    private let store: AdapterStore
    private let base: BaseFile
    private let values: BaseValues

    init() throws {
        let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/dit-pixel.safetensors").path
        base = try BaseFile(path: path)
        store = try AdapterStore.create(at: folder)
        try store.importBase(FileContent(base.encoding().pieces, digest: base.digest), card: Data())
        values = try BaseValues(digest: base.digest, layout: base.layout, vector: base.vector)
    }

    private func add(_ name: String, factor: Float) throws -> Digest {
        let vector = TunableVector(base.vector.values.map { $0 * factor }, layout: base.layout)
        let digest = Digest(of: Data("\(factor)".utf8))
        let manifest = AdapterManifest(
            name: nil, baseDigest: base.digest, layoutDigest: base.layout.digest, trainableSet: TrainableSet(.difffit, base.configuration),
            classes: base.classes.names, prediction: base.card.prediction, path: base.card.path)
        let adapter = StoredAdapter(
            digest: digest, manifest: Data(try sortedJSON(manifest).utf8), baseDigest: base.digest, vector: vector, classes: base.classes)
        _ = try store.add(adapter, as: name, over: values, replace: true)
        return digest
    }

    @Test func whatAnotherHandChangesIsSeenAtTheNextCall() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let catalogue = try AdapterCatalogue(store, base: base)
        #expect(throws: StoreError.self) { try catalogue.bind("flowers") }
        let first = try add("flowers", factor: 1.5)
        let bound = try catalogue.bind("flowers")
        #expect(bound.adapter.digest == first)
        #expect(!bound.wasResident)
        #expect(bound.adapter.name == "flowers")
        #expect(try catalogue.bind("flowers").wasResident)
        let second = try add("flowers", factor: 2)
        #expect(try catalogue.bind("flowers").adapter.digest == second)
        // The old content keeps its digest, and the request that holds it keeps its values.
        #expect(try catalogue.bind("flowers@\(first.short)").adapter.vector == bound.adapter.vector)
        try store.remove("flowers")
        #expect(throws: StoreError.self) { try catalogue.bind("flowers") }
        #expect(bound.adapter.vector.values[0] == base.vector.values[0] * 1.5)
    }

    @Test func theBaseIsAnAdapterOfItself() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let catalogue = try AdapterCatalogue(store, base: base)
        let bound = try catalogue.bind("base").adapter
        #expect(bound.vector == base.vector)
        #expect(bound.digest == base.digest)
        #expect(bound.name == "base")
    }

    @Test func theLongestUnusedLeavesWhenTheBudgetIsSpent() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let bytes = (base.layout.count + base.classes.values.count) * 4
        let catalogue = try AdapterCatalogue(store, base: base, budget: 2 * bytes)
        for (name, factor) in [("a", 1.5), ("b", 2), ("c", 3)] as [(String, Float)] { _ = try add(name, factor: factor) }
        for name in ["a", "b", "a", "c"] { _ = try catalogue.bind(name) }
        #expect(catalogue.residentBytes == 2 * bytes)
        #expect(catalogue.residentDigests.count == 2)
        #expect(try catalogue.bind("a").wasResident)
        #expect(try !catalogue.bind("b").wasResident)
    }
}
