import AdapterFormat
import Evaluation
import Foundation
import TensorFiles
import TensorMath

/// Features of real images by what they are features of, kept in a folder: a digest over the base, the definition and every
/// value of the images names the file, so a stale one is never found.
struct FeatureCache {
    private let features: FrozenFeatures
    private let base: Digest
    /// Nil keeps none.
    private let folder: String?
    private let pool: ThreadPool

    init(_ features: FrozenFeatures, base: Digest, folder: String?, pool: ThreadPool) {
        (self.features, self.base, self.folder, self.pool) = (features, base, folder, pool)
    }

    func measure(_ images: LabelledLatents) -> Matrix {
        guard let folder else { return features.measure(images.values, pool: pool) }
        let path = folder + "/\(digest(of: images)).safetensors"
        if let found = stored(at: path, rows: images.count) { return found }
        let measured = features.measure(images.values, pool: pool)
        // A cache that cannot be written costs time, nothing else.
        try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try? SafetensorsWriter.write([OutgoingTensor("features", shape: [measured.rows, measured.columns], measured.array)], to: path)
        return measured
    }

    private func digest(of images: LabelledLatents) -> Digest {
        var bytes = Data("\(base)\n\(features.description)\n\(features.seed)\n\(images.count)\n".utf8)
        // One byte tells every value of an 8-bit picture from every other.
        images.values.withSpan { values in
            bytes.reserveCapacity(bytes.count + values.count)
            for index in values.indices { bytes.append(UInt8((values[index] + 1) * 127.5 + 0.5)) }
        }
        return Digest(of: bytes)
    }

    private func stored(at path: String, rows: Int) -> Matrix? {
        guard let values = try? TensorFile(path: path).floats("features"), values.count == rows * features.width else { return nil }
        let found = Memory(capacity: Memory.paddedCount(values.count)).take(rows, features.width)
        found.copy(from: values)
        return found
    }
}
