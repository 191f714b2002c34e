import Foundation
import ImageFiles

/// How near two settings' images of equal seeds are: peak signal-to-noise ratio over all bytes of a pair, in decibels.
package struct PairedPSNR: Sendable, Hashable, Codable {
    /// Over all pairs; nil where a middle pair is equal, whose ratio is infinite.
    package let median: Double?
    /// Over the pairs that differ, and the worst of them; nil where none does.
    package let mean, least: Double?
    /// Pairs that are equal byte for byte.
    package let identical: Int
    package let pairs: Int

    /// - Precondition: as many images on either side, each pair of one size.
    package init(_ images: [RGBImage], against reference: [RGBImage]) {
        precondition(images.count == reference.count, "\(images.count) images against \(reference.count)")
        let ratios = zip(images, reference).compactMap { Self.decibels($0, $1) }.sorted()
        pairs = images.count
        identical = images.count - ratios.count
        least = ratios.first
        // Equal pairs stand behind all others.
        median = images.count / 2 < ratios.count ? (ratios[(images.count - 1) / 2] + ratios[images.count / 2]) / 2 : nil
        mean = ratios.isEmpty ? nil : ratios.reduce(0, +) / Double(ratios.count)
    }

    /// 10 log10(255^2 / mse); nil where the images are equal.
    package static func decibels(_ a: RGBImage, _ b: RGBImage) -> Double? {
        precondition(a.width == b.width && a.height == b.height, "\(a.width)x\(a.height) against \(b.width)x\(b.height)")
        let sum = zip(a.pixels, b.pixels).reduce(0) { sum, pair in
            let difference = Int(pair.0) - Int(pair.1)
            return sum + difference * difference
        }
        return sum == 0 ? nil : 10 * log10(255 * 255 * Double(a.pixels.count) / Double(sum))
    }
}
