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
            png = try image.png(text: order.hasMetadata ? [PNGText(key: PictureText.key, value: PictureText(order, index: index, origin).json)] : [])
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

extension PictureText {
    fileprivate init(_ order: GenerationOrder, index: UInt64, _ origin: Origin) {
        self.init(
            order.recipe, className: order.className, labelsFrom: order.labelsFrom, strength: order.strength, seed: order.seed, index: index,
            sampler: order.sampling.sampler, steps: order.sampling.steps, guidance: order.sampling.guidance, cache: order.cache,
            decoder: order.decoder, base: origin.baseDigest,
            precision: origin.precision, build: origin.build)
    }
}
