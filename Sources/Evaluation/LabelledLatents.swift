import ImageFiles
import TensorMath

/// Images as the network takes them, each with the row of a class table that stands for its class.
package struct LabelledLatents: Sendable {
    /// (images, C S S).
    package let values: Matrix
    package var labels: [Int]

    package var count: Int { labels.count }

    /// - Parameter fill: writes image `index` into a row of C S S values; called on the pool's threads.
    package init(labels: [Int], size: Int, pool: ThreadPool, fill: (_ index: Int, _ row: Matrix) -> Void) {
        self.labels = labels
        values = Memory(capacity: Memory.paddedCount(labels.count * size)).take(labels.count, size)
        pool.forEach(labels.count) { fill($0, values.row($0)) }
    }
}

extension RGBImage {
    /// As (3 S S) in -1...1, channel slowest, into a row of as many values.
    package func copy(into latent: Matrix) {
        let plane = width * height
        latent.withMutableSpan { latent in
            for pixel in 0..<plane {
                for channel in 0..<3 { latent[channel * plane + pixel] = Float(pixels[pixel * 3 + channel]) / 127.5 - 1 }
            }
        }
    }
}

/// The random numbers of an evaluation: functions of (seed, what, position), apart from a request's and a training run's.
enum EvaluationStream {
    /// Noise that a held-out image is mixed with in one timestep bucket.
    static func noise(seed: UInt64, image: Int, bucket: Int) -> Philox {
        Philox(seed: seed, stream: 1 << 61 | UInt64(image) << 8 | UInt64(bucket))
    }

    /// Which items a bootstrap resample takes.
    static func resample(seed: UInt64, number: Int, set: Int) -> Philox {
        Philox(seed: seed, stream: 3 << 60 | UInt64(number) << 8 | UInt64(set))
    }
}
