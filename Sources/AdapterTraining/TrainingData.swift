import AdapterFormat
import Foundation
import ImageFiles
import TensorMath

/// Labelled images in memory, all of one size, as a training run draws from them.
package struct TrainingData: Sendable {
    /// Class names in label order.
    package let classNames: [String]
    /// Label per image.
    package let labels: [Int]
    /// Side of the square images in pixels.
    package let size: Int
    /// Where the images come from, as the manifest records it.
    package let summary: String
    /// RGB bytes, image after image.
    private let pixels: [UInt8]
    /// The images as the network of a latent base sees them, in the same order; nil where it sees pixels.
    package internal(set) var latents: LatentTable?
    /// What a folder gave beside the images; nil where they are drawn.
    package internal(set) var folder: FolderReport?
    /// What was taken of a data set, and how that is laid out; nil where it is drawn.
    package internal(set) var selection: DataSelection?
    package internal(set) var layout: String?
    /// Indices of each class's images, ascending.
    package let byClass: [[Int]]

    /// - Precondition: every image is `size` pixels square; `images` and `labels` are of one length.
    package init(classNames: [String], size: Int, images: [RGBImage], labels: [Int], summary: String) {
        precondition(images.count == labels.count && images.allSatisfy { $0.width == size && $0.height == size })
        self.classNames = classNames
        self.size = size
        self.labels = labels
        self.summary = summary
        pixels = images.flatMap(\.pixels)
        byClass = Self.byClass(labels, classes: classNames.count)
    }

    /// These images alone, in this order, under the same class names.
    package init(_ data: TrainingData, images: [Int], summary: String? = nil) {
        let each = 3 * data.size * data.size
        classNames = data.classNames
        size = data.size
        self.summary = summary ?? data.summary
        labels = images.map { data.labels[$0] }
        pixels = images.flatMap { data.pixels[($0 * each)..<(($0 + 1) * each)] }
        latents = data.latents?.choosing(images)
        (folder, selection, layout) = (data.folder, data.selection, data.layout)
        byClass = Self.byClass(labels, classes: classNames.count)
    }

    /// The images that are none of another's, picture by picture.
    package func without(_ other: TrainingData) -> TrainingData {
        precondition(size == other.size)
        let known = Set((0..<other.count).map(other.picture))
        return TrainingData(self, images: (0..<count).filter { !known.contains(picture($0)) })
    }

    private func picture(_ index: Int) -> ArraySlice<UInt8> { pixels[(index * 3 * size * size)..<((index + 1) * 3 * size * size)] }

    private static func byClass(_ labels: [Int], classes: Int) -> [[Int]] {
        labels.enumerated().reduce(into: [[Int]](repeating: [], count: classes)) { $0[$1.element].append($1.offset) }
    }

    package var count: Int { labels.count }

    /// SHA-256 over names, labels, pixels and what encodes them: equal data gives an equal digest.
    package var digest: Digest {
        let encoder = latents.map { ["seen through \($0.autoencoder)"] } ?? []
        let header = (classNames + [labels.map(String.init).joined(separator: ",")] + encoder).joined(separator: "\n")
        return Digest(of: Data(header.utf8) + pixels)
    }

    /// Image `index` as (3 S S) in -1...1, channel slowest, mirrored left to right where asked.
    package func copy(_ index: Int, flipped: Bool, into x: Matrix) {
        let plane = size * size
        let start = index * plane * 3
        x.withMutableSpan { x in
            for row in 0..<size {
                for column in 0..<size {
                    let from = start + (row * size + (flipped ? size - 1 - column : column)) * 3
                    for channel in 0..<3 { x[channel * plane + row * size + column] = Float(pixels[from + channel]) / 127.5 - 1 }
                }
            }
        }
    }
}
