/// A movable label in the store, of an adapter or a base: never a path, never a digest's other spelling (law 8).
package struct AdapterName: Sendable, Hashable, Comparable, CustomStringConvertible {
    package let description: String

    package init(_ text: some StringProtocol) throws(AdapterFormatError) {
        guard Self.isValid(text) else { throw .badName(String(text.prefix(80))) }
        description = String(text)
    }

    /// `[a-z0-9][a-z0-9._-]{0,63}` without `base`.
    package static func isValid(_ text: some StringProtocol) -> Bool {
        let first = { (c: UInt8) in (0x61...0x7a).contains(c) || (0x30...0x39).contains(c) }
        let units = Array(text.utf8)
        return (1...64).contains(units.count) && text != "base" && first(units[0])
            && units.allSatisfy { first($0) || [0x2e, 0x5f, 0x2d].contains($0) }
    }

    /// The name closest to a text of another kind, such as a file's name: lower case, and a dash for what a name cannot have.
    /// - Returns: nil where nothing is left.
    package static func fitting(_ text: String) -> AdapterName? {
        let units = text.lowercased().utf8.map { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || [0x2e, 0x5f].contains($0) ? $0 : 0x2d }
        let trimmed = units.drop { [0x2d, 0x2e, 0x5f].contains($0) }.prefix(64)
        return try? AdapterName(String(decoding: trimmed, as: UTF8.self))
    }

    package static func < (a: AdapterName, b: AdapterName) -> Bool { a.description < b.description }
}

/// How a user points at an adapter.
package enum AdapterReference: Sendable, Hashable {
    case name(AdapterName)
    /// A digest or its first digits, four at least, lower case.
    case digest(prefix: String)
    /// The name, and the digest it must stand for.
    case pinned(AdapterName, prefix: String)

    /// A text that could be both a name and a digest's beginning is read as a name first; the store tries the digest after.
    package init(_ text: String) throws(AdapterFormatError) {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        switch parts.count {
        case 1:
            if text.utf8.count == 64, Digest(hex: text) != nil {
                self = .digest(prefix: text.lowercased())
            } else {
                self = .name(try AdapterName(text))
            }
        case 2:
            let prefix = parts[1].lowercased()
            guard (4...64).contains(prefix.utf8.count), prefix.allSatisfy(\.isHexDigit) else { throw .badReference(text) }
            self = .pinned(try AdapterName(parts[0]), prefix: prefix)
        default: throw .badReference(text)
        }
    }
}

/// The names most like a mistyped one: by edit distance, near ones only, nearest first.
package func nearestNames(to text: String, among names: [String], limit: Int = 3) -> [String] {
    let wanted = Array(text.lowercased().prefix(64))
    let reach = max(1, wanted.count / 2)
    // The beginning of a name is near to it, however much is missing.
    return names.map { name in
        let own = Array(name.lowercased())
        return (wanted.count > 1 && own.starts(with: wanted) ? 1 : editDistance(wanted, own), name)
    }.filter { $0.0 <= reach }.sorted { $0 < $1 }.prefix(limit).map(\.1)
}

/// Levenshtein's distance.
private func editDistance(_ a: [Character], _ b: [Character]) -> Int {
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, y) in b.enumerated() {
            let above = row[j + 1]
            row[j + 1] = min(above + 1, row[j] + 1, diagonal + (x == y ? 0 : 1))
            diagonal = above
        }
    }
    return row[b.count]
}
