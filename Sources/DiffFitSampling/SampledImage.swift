import AdapterFormat
import Foundation
import ImageFiles
import SamplingEngine

/// A finished picture: eight bits per channel, and what made it.
public struct SampledImage: Sendable, Hashable {
    /// In pixels.
    public let width: Int
    /// In pixels.
    public let height: Int
    /// RGB interleaved, rows from the top, no padding: `height * width * 3` bytes.
    public let pixels: [UInt8]
    /// SHA-256 of the adapter that ran, or of the recipe.
    public let digest: Digest
    /// The class as it was understood, such as `flowers/rose`.
    public let className: String
    /// With its place among the pictures of its request all that its random numbers depend on.
    public let seed: UInt64
    /// Its place among the pictures of its request, from 0.
    public let index: UInt64
    private let text: String

    init(_ picture: RGBImage, _ text: PictureText, _ digest: Digest) {
        (width, height, pixels) = (picture.width, picture.height, picture.pixels)
        (className, seed, index) = (text.class, text.seed, text.index)
        self.digest = digest
        self.text = text.json
    }

    /// A PNG file's bytes, which say how the picture was made; the same request gives the same bytes.
    /// - Throws: `DiffFitError` of the kind `system`.
    public func png() throws -> Data { try DiffFitError.translating { try picture.png(text: chunk) } }

    /// Writes the PNG file whole or not at all.
    /// - Throws: `DiffFitError` of the kind `system`.
    public func writePNG(to path: String) throws { try DiffFitError.translating { try picture.writePNG(to: path, text: chunk) } }

    private var picture: RGBImage { RGBImage(width: width, height: height, pixels: pixels) }
    private var chunk: [PNGText] { [PNGText(key: PictureText.key, value: text)] }
}
