import AdapterFormat
import Foundation
import Autoencoder
import SystemIO
import TensorFiles
import TensorMath

/// The encoder's posteriors of training images on disk, so that each image is encoded once: a file per image under the digests of
/// the autoencoder and of the image. A run draws a fresh sample of the posterior each time it takes the image.
package struct LatentCache {
    private let folder: String
    private let autoencoder: any ImageAutoencoder
    private let digest: Digest

    /// - Parameters:
    ///   - folder: made if need be; caches of any data sets and autoencoders share it.
    ///   - digest: of the autoencoder's file.
    package init(folder: String, autoencoder: any ImageAutoencoder, digest: Digest) throws {
        self.folder = "\(folder)/\(digest)"
        self.autoencoder = autoencoder
        self.digest = digest
        do {
            try FileManager.default.createDirectory(atPath: self.folder, withIntermediateDirectories: true)
        } catch {
            throw TensorFileError.unwritable(path: self.folder, reason: SystemError(error))
        }
    }

    /// The posteriors of every image, and of its mirror image where runs flip: read where they are known, else encoded and kept.
    /// A cache that was cut short goes on where it ended.
    /// - Parameter onImage: called after each image with how many are done and how many of these had to be encoded.
    package func posteriors(
        of data: TrainingData, mirrored: Bool, pool: ThreadPool, onImage: (_ done: Int, _ encoded: Int) -> Void = { _, _ in }
    ) throws -> LatentTable {
        let c = autoencoder.format
        var encoder: LatentEncoder?
        var table = LatentTable(
            count: c.latentChannels * (data.size / c.downsampling) * (data.size / c.downsampling), orientations: mirrored ? 2 : 1, c,
            autoencoder: digest)
        let image = Memory(capacity: 3 * data.size * data.size + 16).take(3 * data.size * data.size)
        var encoded = 0
        for index in 0..<data.count {
            data.copy(index, flipped: false, into: image)
            let path = path(of: image)
            if let known = try read(path, table) {
                table.append(known)
            } else {
                let working = try encoder ?? LatentEncoder(autoencoder, height: data.size, width: data.size, pool: pool)
                encoder = working
                let posteriors = (0..<table.orientations).map { orientation in
                    data.copy(index, flipped: orientation == 1, into: image)
                    return image.withSpan { working.encode($0) }
                }
                try write(posteriors, to: path)
                table.append(posteriors)
                encoded += 1
            }
            onImage(index + 1, encoded)
        }
        return table
    }

    /// The images as a base of latents learns them.
    /// - Parameters: as `posteriors` has them.
    package static func encoded(
        _ data: TrainingData, by autoencoder: any ImageAutoencoder, folder: String, mirrored: Bool, pool: ThreadPool,
        onImage: (_ done: Int, _ encoded: Int) -> Void = { _, _ in }
    ) throws -> TrainingData {
        let cache = try LatentCache(folder: folder, autoencoder: autoencoder, digest: Digest(of: AutoencoderFile(path: autoencoder.file.path).encoding.pieces))
        return data.seen(through: try cache.posteriors(of: data, mirrored: mirrored, pool: pool, onImage: onImage))
    }

    private func path(of image: Matrix) -> String {
        let bytes = SafetensorsWriter.encoded([OutgoingTensor("image", shape: [image.count], image.array)])
        return "\(folder)/\(Digest(of: bytes)).safetensors"
    }

    /// nil where the file is not there, or holds fewer orientations than are wanted.
    private func read(_ path: String, _ table: LatentTable) throws -> [LatentPosterior]? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        let file = try TensorFile(path: path)
        let mean = try file.floats("mean"), logVariance = try file.floats("logvar")
        guard mean.count == logVariance.count, mean.count >= table.orientations * table.count else { return nil }
        return (0..<table.orientations).map { orientation in
            let range = (orientation * table.count)..<((orientation + 1) * table.count)
            return LatentPosterior(mean: Array(mean[range]), logVariance: Array(logVariance[range]))
        }
    }

    private func write(_ posteriors: [LatentPosterior], to path: String) throws {
        let shape = [posteriors.count, posteriors[0].mean.count]
        try SafetensorsWriter.write(
            [
                OutgoingTensor("mean", shape: shape, posteriors.flatMap(\.mean)),
                OutgoingTensor("logvar", shape: shape, posteriors.flatMap(\.logVariance)),
            ], to: path)
    }
}
