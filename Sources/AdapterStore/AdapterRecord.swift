import AdapterFormat
import Foundation
import struct Crypto.SHA256
import TensorFiles

/// One adapter as the store takes it and gives it back, equal to the last bit.
package struct StoredAdapter: Sendable, Hashable {
    /// The content digest: the adapter's identity.
    package let digest: Digest
    /// The manifest's JSON, opaque to the store.
    package let manifest: Data
    /// Digest of the base file that the values belong to.
    package let baseDigest: Digest
    package let vector: TunableVector
    package let classes: ClassTable

    package init(digest: Digest, manifest: Data, baseDigest: Digest, vector: TunableVector, classes: ClassTable) {
        self.digest = digest
        self.manifest = manifest
        self.baseDigest = baseDigest
        self.vector = vector
        self.classes = classes
    }
}

/// A base model's own values, against which its adapters are stored as differences.
package struct BaseValues: Sendable {
    /// Digest of the base file.
    package let digest: Digest
    package let layout: TunableLayout
    package let vector: TunableVector
    let layoutDigest: Digest
    let vectorDigest: Digest

    /// - Parameter vector: over `layout`; another count is refused.
    package init(digest: Digest, layout: TunableLayout, vector: TunableVector) throws(StoreError) {
        guard vector.values.count == layout.count else {
            throw .incompatible("The base vector has \(vector.values.count, "value"); its layout has \(layout.count).")
        }
        self.digest = digest
        self.layout = layout
        self.vector = vector
        layoutDigest = layout.digest
        var hash = SHA256()
        hash.update(values: vector.values)
        vectorDigest = Digest(hash.finalize())
    }
}

extension BaseValues {
    /// The base's values over the table that a manifest's adapter uses: with low-rank pairs, which are zero in the base, where it
    /// has them, and for each step where it has a vector for each. It is all that the store reads of a manifest.
    func over(layoutOf manifest: Data) throws(StoreError) -> BaseValues {
        struct Extent: Decodable {
            let low_rank: LowRank?
            let distillation: DistillationRecord?
        }
        // Most have neither, and a cold load is short beside the reading of JSON.
        guard manifest.range(of: Data("low_rank".utf8)) != nil || manifest.range(of: Data("distillation".utf8)) != nil else { return self }
        let extent: Extent
        do { extent = try JSONDecoder().decode(Extent.self, from: manifest) } catch {
            throw .damaged(item: "adapter's manifest", reason: plainReason(error))
        }
        if let fault = extent.low_rank?.fault(on: layout.configuration) ?? extent.distillation?.fault {
            throw .incompatible("The adapter's manifest cannot be used: \(fault).")
        }
        let steps = extent.distillation?.steps
        guard extent.low_rank != nil || steps != nil else { return self }
        let extended = layout.over(extent.low_rank).repeated(steps: steps)
        return try BaseValues(digest: digest, layout: extended, vector: vector.extended(to: extended, steps: steps))
    }
}

extension AdapterManifest {
    /// A manifest as a store keeps it.
    /// - Throws: `damaged` where it cannot be read, or was written by a later version whose fields mean other things.
    package init(stored json: Data, of digest: Digest) throws(StoreError) {
        do { self = try JSONDecoder().decode(AdapterManifest.self, from: json) } catch {
            throw .damaged(item: "manifest of the adapter \(digest.short)", reason: plainReason(error))
        }
        guard (1...Self.latestSchema).contains(schemaVersion) else {
            throw .incompatible(
                "The manifest of the adapter \(digest.short) has schema \(schemaVersion), of a later version; this one reads 1 to \(Self.latestSchema).")
        }
        if let fault = distillationFault { throw .damaged(item: "manifest of the adapter \(digest.short)", reason: fault) }
    }
}

extension AdapterEntry {
    package func decodedManifest() throws(StoreError) -> AdapterManifest { try AdapterManifest(stored: manifest, of: digest) }
}

extension Adapter {
    /// An adapter as the store gave it back.
    /// - Throws: as `AdapterManifest.init(stored:of:)`.
    package init(_ stored: StoredAdapter) throws(StoreError) {
        let manifest = try AdapterManifest(stored: stored.manifest, of: stored.digest)
        self.init(manifest: manifest, vector: stored.vector, classes: stored.classes)
    }

    /// The adapter as a store takes it, under its own digest.
    package func stored() throws -> StoredAdapter {
        StoredAdapter(
            digest: digest, manifest: Data(try sortedJSON(manifest).utf8), baseDigest: manifest.baseDigest, vector: vector, classes: classes)
    }

    /// bfloat16 where that loses nothing: values that are the base's own are not stored at all.
    package func storedPrecision(over base: TunableVector) -> StoredPrecision {
        // Low-rank pairs, which the base has none of, stand behind its values, in each step's vector.
        let steps = manifest.distillation?.steps ?? 1, one = base.values + [Float](repeating: 0, count: vector.values.count / steps - base.values.count)
        let old = (0..<steps).lazy.flatMap { _ in one }
        let moved = zip(vector.values, old).lazy.filter { $0.bitPattern != $1.bitPattern }.map(\.0)
        let isExact = moved.allSatisfy { BFloat16.rounded($0) == $0 } && classes.values.allSatisfy { BFloat16.rounded($0) == $0 }
        return isExact ? .bf16(RoundingError(max: 0, rms: 0)) : .f32
    }
}

extension StoreOptions {
    /// Compares every adapter with the digest that it names, as `add` takes it and `verify` reads it.
    package static var checkingContent: StoreOptions {
        var options = StoreOptions()
        // A manifest that cannot be read has no identity; the digest then differs from any other.
        options.contentDigest = { stored in (try? Adapter(stored))?.digest ?? Digest(of: stored.manifest) }
        return options
    }
}

extension BaseFile {
    /// The base's own values, as a store takes them.
    package func values() throws(StoreError) -> BaseValues { try BaseValues(digest: digest, layout: layout, vector: vector) }
}
