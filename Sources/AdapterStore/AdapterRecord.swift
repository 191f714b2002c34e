import AdapterFormat
import Foundation

import struct Crypto.SHA256

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
            throw .incompatible("The base vector has \(vector.values.count) values; its layout has \(layout.count).")
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

/// The grammar of adapter names, `[a-z0-9][a-z0-9._-]{0,63}` without `base`, and their neighbourhood.
enum AdapterNames {
    static let reserved = "base"

    static func isValid(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        guard (1...64).contains(bytes.count), name != reserved, let first = bytes.first, isAlphanumeric(first) else { return false }
        return bytes.allSatisfy { isAlphanumeric($0) || [UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-")].contains($0) }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    /// Up to three names within a third of the asked name's length (at least two edits), nearest first.
    static func nearest(to name: String, among names: [String]) -> [String] {
        let asked = Array(name.utf8.prefix(64))
        let reach = max(2, asked.count / 3)
        return names.map { (name: $0, edits: edits(asked, Array($0.utf8))) }
            .filter { $0.edits <= reach }
            .sorted { ($0.edits, $0.name) < ($1.edits, $1.name) }
            .prefix(3).map(\.name)
    }

    /// Levenshtein distance.
    private static func edits(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var row = Array(0...b.count)
        for (i, x) in a.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, y) in b.enumerated() {
                let step = min(row[j + 1] + 1, row[j] + 1, diagonal + (x == y ? 0 : 1))
                diagonal = row[j + 1]
                row[j + 1] = step
            }
        }
        return row[b.count]
    }
}
