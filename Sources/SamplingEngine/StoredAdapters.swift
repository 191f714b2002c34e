import AdapterComposer
import AdapterFormat
import AdapterStore
import DiTModel
import Foundation

extension AdapterStore {
    /// Stores an adapter of a base under a name, as small as it can be without loss, with the recorded network call where it has none
    /// yet.
    /// - Throws: `StoreError`; what the network's construction throws.
    package func add(_ adapter: inout Adapter, as name: String, over base: BaseFile, replace: Bool) throws -> AddOutcome {
        adapter.manifest.name = nil
        if adapter.manifest.golden == nil { adapter.manifest.golden = try InferenceDiT(base).goldenValues(of: adapter, over: base.layout) }
        return try add(adapter.stored(), as: name, over: base.values(), replace: replace, precision: adapter.storedPrecision(over: base.vector))
    }

    /// The adapter of a base behind a name, a digest or its first digits, or `name@digest`.
    /// - Throws: `StoreError`; `ComposerError.otherBase`, `denseBase`.
    package func adapter(_ reference: String, of base: BaseFile) throws -> ResolvedAdapter {
        let entry = try lookup(reference)
        if base.isMade(of: entry.baseDigest) { throw ComposerError.denseBase(name: reference, base: entry.baseDigest, sparse: base.digest) }
        guard entry.baseDigest == base.digest else { throw ComposerError.otherBase(name: reference, base: entry.baseDigest, wanted: base.digest) }
        return ResolvedAdapter(
            name: entry.name ?? entry.digest.short, digest: entry.digest, adapter: try Adapter(load(entry.digest, over: base.values())))
    }
}

extension ResolvedAdapter {
    /// An adapter of a base: a file, where the text looks like a path, else what a name in the store stands for.
    /// - Throws: what `AdapterFile.read` and `AdapterStore.adapter(_:of:)` throw.
    package init(_ source: String, of base: BaseFile, as reading: AdapterReading = AdapterReading(), in store: () throws -> AdapterStore) throws {
        guard source.contains("/") || source.hasSuffix(".safetensors") else {
            self = try store().adapter(source, of: base)
            return
        }
        let adapter = try AdapterFile.read(path: source, base: base, as: reading)
        self.init(name: URL(filePath: source).deletingPathExtension().lastPathComponent, digest: adapter.digest, adapter: adapter)
    }
}
