import AdapterFormat
import Foundation
import ImageFiles
import SamplingEngine

import struct Crypto.SHA256

/// One finished picture as it goes out: PNG bytes with the request inside, and their digest.
struct Picture: Sendable {
    let index: UInt64
    let seed: UInt64
    let className: String
    let png: Data
    let sha256: String

    /// - Parameter position: place of the image in its request; its random numbers depend on seed and offset + position.
    init(_ image: RGBImage, position: Int, of order: GenerationOrder, origin: Origin) throws(ServiceError) {
        index = order.indexOffset + UInt64(position)
        seed = order.seed
        className = order.className
        do {
            png = try image.png(text: order.hasMetadata ? [("difffit", PictureText(order, index: index, origin).json)] : [])
        } catch {
            throw .failed(error.description)
        }
        sha256 = Digest(SHA256.hash(data: png)).description
    }

    static func partial(_ image: RGBImage) throws(ServiceError) -> Data {
        do {
            return try image.png()
        } catch {
            throw .failed(error.description)
        }
    }
}

/// Where pictures come from: the base and the program.
package struct Origin: Sendable, Equatable {
    package let baseDigest: Digest
    package let baseName: String
    /// The arithmetic that made them.
    package let precision: String
    package let build: String

    package init(baseDigest: Digest, baseName: String, precision: String, build: String) {
        self.baseDigest = baseDigest
        self.baseName = baseName
        self.precision = precision
        self.build = build
    }
}

/// What makes a picture again: the text chunk of its file. Never a path, a host, a user or a time, so that the same
/// request gives the same bytes.
private struct PictureText: Encodable {
    let adapter: String
    let digest: String
    let recipe: String
    let labelsFrom: String?
    let strength: Double
    let baseDigest: String
    let `class`: String
    let seed: UInt64
    let index: UInt64
    let sampler: String
    let steps: Int
    let guidance: String
    let guidanceScale: Float
    let precision: String
    let guidanceInterval: [Double]
    let cache: String
    let build: String

    init(_ order: GenerationOrder, index: UInt64, _ origin: Origin) {
        adapter = order.recipe.label
        digest = order.recipe.digest.description
        recipe = order.recipe.text
        labelsFrom = order.labelsFrom
        strength = order.strength
        baseDigest = origin.baseDigest.description
        `class` = order.className
        seed = order.seed
        self.index = index
        sampler = order.sampler.rawValue
        steps = order.steps
        guidance = order.guidance.kind.rawValue
        guidanceScale = order.guidance.scale
        cache = order.cache.rawValue
        guidanceInterval = [order.guidance.interval.lowerBound, order.guidance.interval.upperBound]
        precision = origin.precision
        build = origin.build
    }

    var json: String { String(buffer: SocketService.json(self)) }
}
