import Crypto
import Foundation

/// A SHA-256 content digest, written as 64 lower-case hexadecimal digits.
public struct Digest: Sendable, Hashable, Comparable, CustomStringConvertible, Codable {
    package let bytes: [UInt8]

    package init(_ digest: SHA256.Digest) { bytes = Array(digest) }

    /// The SHA-256 of these bytes.
    package init(of data: Data) { self.init(SHA256.hash(data: data)) }

    /// Reads 64 hexadecimal digits; nil for anything else.
    public init?(hex: some StringProtocol) {
        guard hex.utf8.count == 64 else { return nil }
        var bytes: [UInt8] = []
        var high: UInt8?
        for character in hex {
            guard character.isASCII, let value = character.hexDigitValue else { return nil }
            if let first = high {
                bytes.append(first << 4 | UInt8(value))
                high = nil
            } else {
                high = UInt8(value)
            }
        }
        self.bytes = bytes
    }

    /// The digest of 32 raw bytes, as stored; nil for another count.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 32 else { return nil }
        self.bytes = Array(bytes)
    }

    /// 64 lower-case hexadecimal digits.
    public var description: String {
        bytes.map { byte in
            let digits = String(byte, radix: 16)
            return byte < 16 ? "0" + digits : digits
        }.joined()
    }

    /// The first twelve digits, as lists show them.
    public var short: String { String(description.prefix(12)) }

    /// By their bytes.
    public static func < (a: Digest, b: Digest) -> Bool { a.bytes.lexicographicallyPrecedes(b.bytes) }

    /// A string of 64 hexadecimal digits.
    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let digest = Digest(hex: text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "'\(text)' is not a digest of 64 hexadecimal digits"))
        }
        self = digest
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
