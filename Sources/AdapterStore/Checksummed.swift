import AdapterFormat

import struct Crypto.SHA256

/// A small value with eight bytes of SHA-256 over its key and itself in front, since LMDB's pages carry no checksum.
enum Checksummed {
    static let size = 8

    static func close(_ value: [UInt8], table: Table, key: [UInt8]) -> [UInt8] { checksum(value[...], table, key) + value }

    /// The value inside, or an integrity error that names the entry.
    static func open(_ bytes: [UInt8], table: Table, key: [UInt8]) throws(StoreError) -> [UInt8] {
        let value = bytes.dropFirst(size)
        guard bytes.count >= size, Array(bytes.prefix(size)) == checksum(value, table, key) else {
            throw .damaged(item: item(table, key), reason: "its value does not fit its checksum")
        }
        return Array(value)
    }

    private static func item(_ table: Table, _ key: [UInt8]) -> String {
        let text = Digest(bytes: key)?.short ?? String(decoding: key, as: UTF8.self).debugDescription
        return switch table {
        case .meta: "store's own entry \(text)"
        case .bases: "entry of the base \(text)"
        case .blobs, .records: "manifest of the adapter \(text)"
        case .names: "name \(String(decoding: key, as: UTF8.self).debugDescription)"
        }
    }

    private static func checksum(_ value: ArraySlice<UInt8>, _ table: Table, _ key: [UInt8]) -> [UInt8] {
        var hash = SHA256()
        hash.update(data: [UInt8(table.rawValue), UInt8(truncatingIfNeeded: key.count)])
        hash.update(data: key)
        hash.update(data: value)
        return Array(hash.finalize().prefix(size))
    }
}

extension Transaction where Self: ~Copyable {
    /// A checksummed value; nil where the key is absent.
    borrowing func checksummed(_ table: Table, _ key: [UInt8]) throws(StoreError) -> [UInt8]? {
        guard let bytes = try value(table, key) else { return nil }
        return try Checksummed.open(bytes, table: table, key: key)
    }

    /// The digest behind a name.
    borrowing func digest(named name: String) throws(StoreError) -> Digest? {
        try checksummed(.names, Array(name.utf8)).flatMap { Digest(bytes: $0) }
    }

    /// Every name and its digest, by name.
    borrowing func allNames() throws(StoreError) -> [NamedDigest] {
        var names: [NamedDigest] = []
        try scan(.names) { key, value throws(StoreError) in
            let bytes = try Checksummed.open(value, table: .names, key: key)
            guard let digest = Digest(bytes: bytes) else {
                throw .damaged(item: "name \(String(decoding: key, as: UTF8.self).debugDescription)", reason: "it holds no digest")
            }
            names.append(NamedDigest(name: String(decoding: key, as: UTF8.self), digest: digest))
            return true
        }
        return names
    }

    borrowing func generation() throws(StoreError) -> UInt64 {
        let text = try checksummed(.meta, Array("generation".utf8)).map { String(decoding: $0, as: UTF8.self) }
        guard let generation = text.flatMap({ UInt64($0) }) else {
            throw .damaged(item: "store", reason: "its generation is missing")
        }
        return generation
    }
}

/// A name of the store and what it stands for.
struct NamedDigest {
    let name: String
    let digest: Digest
}

extension WriteTransaction {
    borrowing func putChecksummed(_ table: Table, _ key: [UInt8], _ value: [UInt8]) throws(StoreError) {
        try put(table, key, Checksummed.close(value, table: table, key: key))
    }

    /// Marks the change for every reader of `AdapterStore.generation`.
    borrowing func raiseGeneration() throws(StoreError) {
        try putChecksummed(.meta, Array("generation".utf8), Array(String(try generation() + 1).utf8))
    }
}
