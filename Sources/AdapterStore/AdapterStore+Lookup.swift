import AdapterFormat
import Foundation

/// One line of the store's list.
public struct AdapterEntry: Sendable, Hashable {
    /// The name that was asked for or listed; nil for an adapter reached by its digest or one without a name.
    public let name: String?
    /// SHA-256 of the content: the adapter's identity, whatever it is called.
    public let digest: Digest
    /// The base that it belongs to.
    public let baseDigest: Digest
    package let layoutDigest: Digest
    /// Classes without the null class.
    public let classCount: Int
    package let precision: StoredPrecision
    /// Bytes of the compressed frame.
    public let storedBytes: Int
    /// Bytes of the values as float32, class names included.
    public let contentBytes: Int
    package let manifest: Data
}

extension AdapterStore {
    /// The adapter behind a name, a full digest, a unique prefix of one (four digits or more), or `name@digest`.
    ///
    /// A full digest wins over a name, a name over a prefix. In `name@digest` the digest alone decides, so it keeps its meaning
    /// after the name has moved on.
    /// - Throws: `notFound` with the nearest names, `ambiguous` with the matches, `badName`, `damaged`.
    public func lookup(_ reference: String) throws(StoreError) -> AdapterEntry {
        try environment.read { transaction throws(StoreError) in
            let (name, digest) = try AdapterStore.resolve(reference, transaction)
            return try AdapterStore.entry(name, digest, transaction)
        }
    }

    /// Every name in ascending order with its adapter; by choice also the adapters without a name, by digest.
    public func list(includingUnnamed: Bool = false) throws(StoreError) -> [AdapterEntry] {
        try environment.read { transaction throws(StoreError) in
            var entries: [AdapterEntry] = []
            var named: Set<Digest> = []
            for entry in try transaction.allNames() {
                entries.append(try AdapterStore.entry(entry.name, entry.digest, transaction))
                named.insert(entry.digest)
            }
            guard includingUnnamed else { return entries }
            for digest in try AdapterStore.digests(.blobs, transaction) where !named.contains(digest) {
                entries.append(try AdapterStore.entry(nil, digest, transaction))
            }
            return entries
        }
    }

    /// The names that lead to an adapter, in ascending order.
    package func names(of digest: Digest) throws(StoreError) -> [String] {
        try environment.read { transaction throws(StoreError) in
            try transaction.allNames().filter { $0.digest == digest }.map(\.name)
        }
    }

    /// Reads an adapter and checks it against the digest of its stored content.
    /// - Throws: `notFound`, `damaged`, `incompatible` where the base is another one.
    package func load(_ digest: Digest, over base: BaseValues) throws(StoreError) -> StoredAdapter {
        let (frame, manifest) = try environment.read { transaction throws(StoreError) -> ([UInt8], [UInt8]) in
            guard let frame = try transaction.value(.blobs, digest.bytes), let manifest = try transaction.checksummed(.records, digest.bytes)
            else { throw .notFound(reference: digest.description, nearest: []) }
            return (frame, manifest)
        }
        return try BlobFrame.decode(frame, digest: digest, manifest: Data(manifest), over: base)
    }

    private static func resolve(
        _ reference: String, _ transaction: borrowing ReadTransaction
    ) throws(StoreError) -> (name: String?, digest: Digest) {
        let parts = reference.split(separator: "@", omittingEmptySubsequences: false).map(String.init)
        if parts.count == 2 {
            guard AdapterName.isValid(parts[0]) else { throw .badName(parts[0]) }
            if let digest = try digest(prefix: parts[1], transaction) { return (parts[0], digest) }
            throw .notFound(reference: reference, nearest: [])
        }
        let isName = AdapterName.isValid(reference)
        if let digest = Digest(hex: reference), try transaction.value(.blobs, digest.bytes, limit: 0) != nil { return (nil, digest) }
        if isName, let digest = try transaction.digest(named: reference) { return (reference, digest) }
        if let digest = try digest(prefix: reference, transaction) { return (nil, digest) }
        throw try unknown(reference, transaction)
    }

    /// What a name is told that stands for nothing. One with capitals is a near miss; anything else that no name can be is none.
    static func unknown(_ name: String, _ transaction: borrowing some Transaction & ~Copyable) throws(StoreError) -> StoreError {
        let nearest = nearestNames(to: name, among: try transaction.allNames().map(\.name))
        let isNear = AdapterName.isValid(name.lowercased()) && !nearest.isEmpty
        return AdapterName.isValid(name) || isNear ? .notFound(reference: name, nearest: nearest) : .badName(name)
    }

    private static func digest(prefix: String, _ transaction: borrowing ReadTransaction) throws(StoreError) -> Digest? {
        let prefix = prefix.lowercased()
        guard (4...64).contains(prefix.utf8.count),
            let lowest = Digest(hex: prefix + String(repeating: "0", count: 64 - prefix.utf8.count))
        else { return nil }
        var matches: [Digest] = []
        try transaction.scan(.blobs, from: lowest.bytes, limit: 0) { key, _ throws(StoreError) in
            guard let digest = Digest(bytes: key), digest.description.hasPrefix(prefix) else { return false }
            matches.append(digest)
            return matches.count < 10
        }
        if matches.count < 2 { return matches.first }
        let names = try transaction.allNames()
        throw .ambiguous(
            prefix: prefix,
            matches: matches.map { match in
                ([match.short] + names.filter { $0.digest == match }.map(\.name)).joined(separator: " ")
            })
    }

    static func digests(_ table: Table, _ transaction: borrowing some Transaction & ~Copyable) throws(StoreError) -> [Digest] {
        var digests: [Digest] = []
        try transaction.scan(table, limit: 0) { key, _ throws(StoreError) in
            guard let digest = Digest(bytes: key) else {
                throw .damaged(item: "table '\(table.name)'", reason: "a key has \(key.count, "byte") instead of 32")
            }
            digests.append(digest)
            return true
        }
        return digests
    }

    private static func entry(
        _ name: String?, _ digest: Digest, _ transaction: borrowing ReadTransaction
    ) throws(StoreError) -> AdapterEntry {
        let item = "adapter \(digest.short)" + (name.map { " of the name '\($0)'" } ?? "")
        guard let head = try transaction.value(.blobs, digest.bytes, limit: BlobHeader.size) else {
            throw .damaged(item: item, reason: "its values are missing")
        }
        guard let manifest = try transaction.checksummed(.records, digest.bytes) else {
            throw .damaged(item: item, reason: "its manifest is missing")
        }
        let header = try BlobHeader(head, item: item)
        return AdapterEntry(
            name: name, digest: digest, baseDigest: header.baseDigest, layoutDigest: header.layoutDigest,
            classCount: header.classCount, precision: header.precision, storedBytes: BlobHeader.size + header.payloadBytes,
            contentBytes: header.contentBytes, manifest: Data(manifest))
    }
}
