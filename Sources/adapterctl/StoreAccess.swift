import AdapterComposer
import AdapterFormat
import AdapterStore
import ArgumentParser
import DiTModel
import Foundation
import Programs
import TensorFiles

/// Where the store is, and what is in it that a command needs.
struct StoreLocation: ParsableArguments {
    @Option(name: .customLong("store"), help: "The store's folder (else DIFFFIT_STORE, else the user's data folder).")
    var folder: String?

    var path: String {
        if let folder { return folder }
        let environment = ProcessInfo.processInfo.environment
        if let path = environment["DIFFFIT_STORE"], !path.isEmpty { return path }
        return UserFolders.store(environment)
    }

    func open() throws -> AdapterStore { try AdapterStore.open(at: path, options: Self.options) }
    func create() throws -> AdapterStore { try AdapterStore.create(at: path, options: Self.options) }

    private static var options: StoreOptions {
        var options = StoreOptions()
        // A manifest that cannot be read has no identity; the digest then differs from any other.
        options.contentDigest = { stored in (try? Adapter(stored))?.digest ?? Digest(of: stored.manifest) }
        return options
    }
}

extension CompletionKind {
    /// The names in the store, looked up whenever the shell asks.
    static var adapterNames: CompletionKind {
        .custom { _, _, _ in ((try? StoreLocation.parse([]).open().list()) ?? []).compactMap(\.name) }
    }
}

extension Adapter {
    /// An adapter as the store gave it back.
    init(_ stored: StoredAdapter) throws {
        let manifest = try AdapterManifest(stored: stored.manifest, of: stored.digest)
        self.init(manifest: manifest, vector: stored.vector, classes: stored.classes)
    }

    func stored() throws -> StoredAdapter {
        StoredAdapter(
            digest: digest, manifest: Data(try sortedJSON(manifest).utf8), baseDigest: manifest.baseDigest, vector: vector, classes: classes)
    }
}

extension Adapter {
    /// bfloat16 where that loses nothing: values that are the base's own are not stored at all.
    func storedPrecision(over base: TunableVector) -> StoredPrecision {
        // Low-rank pairs, which the base has none of, stand behind its values.
        let old = base.values + [Float](repeating: 0, count: vector.values.count - base.values.count)
        let moved = zip(vector.values, old).lazy.filter { $0.bitPattern != $1.bitPattern }.map(\.0)
        let isExact = moved.allSatisfy { BFloat16.rounded($0) == $0 } && classes.values.allSatisfy { BFloat16.rounded($0) == $0 }
        return isExact ? .bfloat16(RoundingError(max: 0, rms: 0)) : .float32
    }
}

extension AdapterStore {
    /// Stores an adapter of a base under a name, as small as it can be without loss, with the recorded network call where it has none yet.
    func add(_ adapter: inout Adapter, as name: String, over base: BaseFile, replace: Bool) throws -> AddOutcome {
        adapter.manifest.name = nil
        if adapter.manifest.golden == nil { adapter.manifest.golden = try InferenceDiT(base).goldenValues(of: adapter, over: base.layout) }
        return try add(adapter.stored(), as: name, over: base.values(), replace: replace, precision: adapter.storedPrecision(over: base.vector))
    }
}

extension AdapterStore {
    /// Said where a base and an adapter have one name. Their names are kept apart: --base and the base verbs take a base's, everything else an
    /// adapter's.
    func twins(ofBase name: String) throws -> [String] {
        try list().contains { $0.name == name } ? ["an adapter is called '\(name)' too: with --base the name means the base, elsewhere the adapter"] : []
    }

    func twins(ofAdapter name: String) throws -> [String] {
        try listBases().contains { $0.decodedCard?.name == name } ? ["a base is called '\(name)' too: with --base the name means the base, elsewhere the adapter"] : []
    }
}

extension AdapterReading {
    /// What is taken though a file leaves it open is a line beside the results.
    static var noting: AdapterReading {
        var reading = AdapterReading()
        reading.onRemark = { note("warning: \($0)") }
        return reading
    }
}

/// A base file that a command is given in place of the store's; what is taken though it does not say so is a line beside the results.
func baseFile(at path: String, heads: Int? = nil, inputSize: Int? = nil, classes: Int? = nil) throws -> BaseFile {
    let base = try BaseFile(path: path, heads: heads, inputSize: inputSize, classes: classes)
    for remark in base.remarks { note("warning: \(remark)") }
    return base
}

extension BaseFile {
    func values() throws -> BaseValues { try BaseValues(digest: digest, layout: layout, vector: vector) }
}

extension AdapterStore {
    /// The base that `reference` names (name, digest or its first digits); the only one where there is only one.
    func baseFile(_ reference: String?) throws -> BaseFile { try baseFile(base(reference).digest) }

    /// The base that an adapter names, else one that was rounded from it.
    func base(fitting manifest: AdapterManifest) throws -> Digest {
        let entries = try listBases()
        if entries.contains(where: { $0.digest == manifest.baseDigest }) { return manifest.baseDigest }
        guard let rounded = entries.first(where: { $0.decodedCard?.roundedFrom == manifest.baseDigest }) else {
            throw StoreError.baseNotFound(manifest.baseDigest)
        }
        return rounded.digest
    }

    func baseFile(_ digest: Digest) throws -> BaseFile {
        let entry = try base(digest)
        return try BaseFile(path: entry.path, card: entry.readCard(), digest: digest)
    }
}

/// An adapter of a base: a file, where the text looks like a path, else what a name in the store stands for.
func adapter(_ source: String, of base: BaseFile, in store: () throws -> AdapterStore) throws -> ResolvedAdapter {
    if source.contains("/") || source.hasSuffix(".safetensors") {
        let adapter = try AdapterFile.read(path: source, base: base, as: .noting)
        return ResolvedAdapter(name: URL(filePath: source).deletingPathExtension().lastPathComponent, digest: adapter.digest, adapter: adapter)
    }
    let store = try store()
    let entry = try store.lookup(source)
    guard entry.baseDigest == base.digest else { throw ComposerError.otherBase(name: source, base: entry.baseDigest, wanted: base.digest) }
    return ResolvedAdapter(name: entry.name ?? entry.digest.short, digest: entry.digest, adapter: try Adapter(store.load(entry.digest, over: base.values())))
}
