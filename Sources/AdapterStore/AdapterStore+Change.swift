import AdapterFormat
import Foundation

/// What `add` did.
public enum AddOutcome: Sendable, Hashable {
    /// The name is new.
    case added
    /// The name led to this adapter before: another one, or the same with a damaged frame.
    case replaced(Digest)
    /// The name already led to this content; nothing was written.
    case unchanged
}

extension AdapterStore {
    /// Stores an adapter and lets a name lead to it.
    ///
    /// Equal content is kept once, with the manifest that came first. A kept frame that no longer reads is written anew.
    /// - Parameter base: values of the adapter's base, which must be in the store.
    /// - Parameter replace: lets a name move from other content; otherwise that is refused with `nameTaken`.
    /// - Throws: also `badName`, `baseNotFound`, `incompatible`, `digestMismatch`, `notRounded`, `tooLarge`, `locked`, `diskFull`,
    ///   `mapFull`; the store is then as before.
    package func add(
        _ adapter: StoredAdapter, as name: String, over base: BaseValues, replace: Bool = false, precision: StoredPrecision = .f32
    ) throws(StoreError) -> AddOutcome {
        try AdapterStore.check(name: name)
        guard adapter.manifest.count <= AdapterStore.manifestLimit else {
            throw .tooLarge(item: "manifest", size: adapter.manifest.count, limit: AdapterStore.manifestLimit)
        }
        if let digest = options.contentDigest?(adapter), digest != adapter.digest {
            throw .digestMismatch(item: "adapter for '\(name)'", expected: adapter.digest, found: digest)
        }
        let isSound = try holdsSound(adapter.digest, base)
        if isSound, try environment.read({ transaction throws(StoreError) in try transaction.digest(named: name) }) == adapter.digest {
            return .unchanged
        }
        let frame = try BlobFrame.encode(adapter, over: base, precision, level: options.compressionLevel)
        return try change { transaction throws(StoreError) in
            let previous = try transaction.digest(named: name)
            if let previous, previous != adapter.digest, !replace { throw .nameTaken(name: name, digest: previous) }
            guard try transaction.value(.bases, base.digest.bytes, limit: 0) != nil else { throw .baseNotFound(base.digest) }
            let key = adapter.digest.bytes
            let frameKept = try transaction.value(.blobs, key, limit: 0)
            let recordKept = try transaction.value(.records, key, limit: 0)
            if frameKept == nil || recordKept == nil || !isSound {
                try transaction.put(.blobs, key, frame)
                try transaction.putChecksummed(.records, key, Array(adapter.manifest))
            } else if previous == adapter.digest {
                return .unchanged
            }
            try transaction.putChecksummed(.names, Array(name.utf8), key)
            try transaction.raiseGeneration()
            return previous.map { .replaced($0) } ?? .added
        }
    }

    /// Puts another manifest in the place of an adapter's, such as one with what was measured of it since. Its identity, values and
    /// names stay.
    /// - Throws: `notFound`, `tooLarge`, `locked`, `mapFull`, `diskFull`.
    package func setManifest(_ manifest: Data, of digest: Digest) throws(StoreError) {
        guard manifest.count <= AdapterStore.manifestLimit else {
            throw .tooLarge(item: "manifest", size: manifest.count, limit: AdapterStore.manifestLimit)
        }
        try change { transaction throws(StoreError) in
            guard try transaction.value(.records, digest.bytes, limit: 0) != nil else { throw .notFound(reference: digest.description, nearest: []) }
            try transaction.putChecksummed(.records, digest.bytes, Array(manifest))
            try transaction.raiseGeneration()
        }
    }

    /// False for an adapter that is absent or damaged; one that does not fit the base is refused.
    private func holdsSound(_ digest: Digest, _ base: BaseValues) throws(StoreError) -> Bool {
        do throws(StoreError) {
            _ = try load(digest, over: base)
            return true
        } catch {
            switch error {
            case .notFound, .damaged, .digestMismatch: return false
            default: throw error
            }
        }
    }

    /// Forgets a name. The adapter stays, reachable by digest, until `prune`.
    /// - Returns: the adapter that the name led to, nil where the name was damaged.
    /// - Throws: `notFound`, `locked`, `mapFull`, `diskFull`.
    @discardableResult
    public func remove(_ name: String) throws(StoreError) -> Digest? {
        try change { transaction throws(StoreError) in
            var digest: Digest?
            do throws(StoreError) {
                digest = try AdapterStore.known(name, transaction)
            } catch {
                guard case .damaged = error else { throw error }
            }
            try transaction.delete(.names, Array(name.utf8))
            try transaction.raiseGeneration()
            return digest
        }
    }

    /// Gives an adapter's name to it in another form; an existing name is never overwritten.
    /// - Throws: `notFound`, `badName`, `nameTaken`, `locked`, `mapFull`, `diskFull`.
    public func rename(_ old: String, to new: String) throws(StoreError) {
        try AdapterStore.check(name: new)
        try change { transaction throws(StoreError) in
            let digest = try AdapterStore.known(old, transaction)
            if old == new { return }
            if let taken = try transaction.digest(named: new) { throw .nameTaken(name: new, digest: taken) }
            try transaction.delete(.names, Array(old.utf8))
            try transaction.putChecksummed(.names, Array(new.utf8), digest.bytes)
            try transaction.raiseGeneration()
        }
    }

    static func check(name: String) throws(StoreError) {
        guard AdapterName.isValid(name) else { throw .badName(name) }
    }

    /// The digest behind a name that must exist.
    private static func known(_ name: String, _ transaction: borrowing WriteTransaction) throws(StoreError) -> Digest {
        if AdapterName.isValid(name), let digest = try transaction.digest(named: name) { return digest }
        throw try unknown(name, transaction)
    }
}
