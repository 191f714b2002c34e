import AdapterFormat
import AdapterStore
import Foundation

import struct Crypto.SHA256

/// A small repeatable generator (SplitMix64), so that two processes draw the same history.
package struct Generator: RandomNumberGenerator {
    private var state: UInt64

    package init(_ seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Any float but NaN: every magnitude, denormals, both zeros and infinities.
    package mutating func float() -> Float {
        let value = Float(bitPattern: UInt32(truncatingIfNeeded: next()))
        return value.isNaN ? -0.0 : value
    }
}

/// The base and the adapters that the hammer and the tests share, each known by a number.
package enum Samples {
    package static let layout = TunableLayout(
        DiTConfiguration(
            inputSize: 4, patchSize: 2, inChannels: 1, hiddenSize: 4, depth: 1, numHeads: 1, numClasses: 3, learnSigma: false))

    /// The bytes of the base file that the store imports.
    package static let baseFile = Data("a base file".utf8)

    package static let base: BaseValues = {
        var generator = Generator(1)
        let values = (0..<layout.count).map { _ in Float.random(in: -1...1, using: &generator) }
        // The vector has the layout's count by construction.
        return try! BaseValues(digest: digest(baseFile), layout: layout, vector: TunableVector(values, layout: layout))
    }()

    package static func digest(_ data: Data) -> Digest { Digest(SHA256.hash(data: data)) }

    /// Adapter `number`: values near the base, or of every magnitude; 0 to 3 classes.
    package static func adapter(_ number: Int, anyFloat: Bool = false) -> StoredAdapter {
        var generator = Generator(UInt64(100 + number))
        let names = (0..<(number % 4)).map { "class \($0) of \(number) ü" }
        let values = base.vector.values.map { $0 + Float.random(in: -0.01...0.01, using: &generator) }
        let table = (0..<(4 * (names.count + 1))).map { _ in Float.random(in: -1...1, using: &generator) }
        return adapter(
            anyFloat ? values.map { _ in generator.float() } : values, ClassTable(names: names, values: table),
            manifest: "{\"number\": \(number)}")
    }

    package static func adapter(_ values: [Float], _ classes: ClassTable, manifest: String) -> StoredAdapter {
        let unsigned = StoredAdapter(
            digest: base.digest, manifest: Data(manifest.utf8), baseDigest: base.digest, vector: TunableVector(values, layout: layout),
            classes: classes)
        return StoredAdapter(
            digest: contentDigest(unsigned), manifest: unsigned.manifest, baseDigest: base.digest, vector: unsigned.vector,
            classes: classes)
    }

    /// Stands for the content digest of the adapter file.
    package static func contentDigest(_ adapter: StoredAdapter) -> Digest {
        var data = Data()
        for value in adapter.vector.values + adapter.classes.values {
            for shift in stride(from: 0, to: 32, by: 8) { data.append(UInt8(truncatingIfNeeded: value.bitPattern >> shift)) }
        }
        data.append(contentsOf: adapter.classes.names.joined(separator: "\n").utf8)
        return digest(data)
    }
}
