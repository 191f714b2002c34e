import TensorMath

/// An activation on its way: pixels with channels last, at one end of the pass's memory.
struct Feature {
    let height, width: Int
    let values: Matrix  // (H W, C)
    let isAtFront: Bool

    var channels: Int { values.columns }
}

package struct FeatureShape: Hashable {
    var height, width, channels: Int

    var count: Int { height * width * channels }
}

/// The memory of one pass, taken once. A layer reads one end of the activations' memory and writes the other, so the room is that
/// of the largest layer: what goes in, what comes out and what lies between.
final class Workspace {
    let group: ThreadGroup
    let dtype: DType
    private let activations: Matrix
    /// Per thread: what convolutions read, and what else a layer needs.
    private let strips, scratch: [Matrix]
    let convolutionScratch: [Matrix]
    /// Of the feature written last, strip by strip: the group's mean and sum of squared distances.
    private let means, deviations: Matrix  // (strips, groups)
    private let momentScratch: [Matrix]
    private var measured: (strips: Int, pixels: Int) = (0, 0)
    let scale, shift: Matrix

    init(_ needs: WorkspaceNeeds, groups: Int, pool: ThreadPool, dtype: DType) {
        let threads = pool.threadCount
        let perThread = [needs.strip, needs.scratch, needs.convolutionScratch, 2 * needs.channels].reduce(0) { $0 + Memory.paddedCount($1) }
        let shared = Memory.paddedCount(needs.activations) + 2 * Memory.paddedCount(needs.strips * groups) + 2 * Memory.paddedCount(needs.channels)
        let memory = Memory(capacity: shared + threads * perThread)
        group = .pool(pool)
        self.dtype = dtype
        activations = memory.take(needs.activations)
        strips = (0..<threads).map { _ in memory.take(needs.strip) }
        scratch = (0..<threads).map { _ in memory.take(needs.scratch) }
        convolutionScratch = (0..<threads).map { _ in memory.take(needs.convolutionScratch) }
        momentScratch = (0..<threads).map { _ in memory.take(2 * needs.channels) }
        means = memory.take(needs.strips, groups)
        deviations = memory.take(needs.strips, groups)
        scale = memory.take(needs.channels)
        shift = memory.take(needs.channels)
    }

    /// Room for a feature at the front or the back, beyond `used` values there.
    func take(_ shape: FeatureShape, atFront: Bool, beyond used: Int = 0) -> Feature {
        let start = atFront ? used : activations.count - used - Memory.paddedCount(shape.count)
        let values = activations.values(start..<(start + shape.count)).reshaped(shape.height * shape.width, shape.channels)
        return Feature(height: shape.height, width: shape.width, values: values, isAtFront: atFront)
    }

    func strip(_ thread: Int, rows: Int, columns: Int, channels: Int) -> PaddedStrip {
        PaddedStrip(in: strips[thread], rows: rows, columns: columns, channels: channels, dtype: dtype)
    }

    /// A thread's scratch memory in a shape.
    func scratch(_ thread: Int, rows: Int, columns: Int) -> Matrix { scratch[thread].values(0..<(rows * columns)).reshaped(rows, columns) }

    /// Takes the moments of one strip of a feature, which has `strips` of them, all of one size.
    func measure(_ rows: Matrix, strip: Int, thread: Int) {
        groupMoments(rows, mean: means.row(strip), deviation: deviations.row(strip), scratch: momentScratch[thread])
    }

    func noteMeasured(strips: Int, pixels: Int) { measured = (strips, pixels) }

    /// The norm of the feature measured last as one scale and shift per channel.
    func fold(_ norm: GroupNorm) -> (scale: Matrix, shift: Matrix) {
        let channels = norm.weight.count, groups = means.columns, width = channels / groups
        let perStrip = Double(measured.pixels * width), strips = measured.strips
        for group in 0..<groups {
            let mean = (0..<strips).reduce(0.0) { $0 + Double(means[$1, group]) } / Double(strips)
            let squares = (0..<strips).reduce(0.0) { sum, strip in
                let distance = Double(means[strip, group]) - mean
                return sum + Double(deviations[strip, group]) + perStrip * distance * distance
            }
            let reciprocal = 1 / (squares / (perStrip * Double(strips)) + GroupNorm.epsilon).squareRoot()
            for channel in (group * width)..<((group + 1) * width) {
                let factor = Double(norm.weight[channel]) * reciprocal
                scale[0, channel] = Float(factor)
                shift[0, channel] = Float(Double(norm.bias[channel]) - mean * factor)
            }
        }
        return (scale.values(0..<channels), shift.values(0..<channels))
    }
}

/// How much of each kind of memory the layers of one network ask for, in float32 values.
struct WorkspaceNeeds {
    var activations = 0, strip = 0, scratch = 0, convolutionScratch = 0
    /// Strips of the feature with most.
    var strips = 0
    var channels = 0

    mutating func include(activations features: FeatureShape...) {
        activations = max(activations, features.reduce(0) { $0 + Memory.paddedCount($1.count) })
        channels = max(channels, features.map(\.channels).max() ?? 0)
    }

    mutating func include(_ convolution: Convolution) { convolutionScratch = max(convolutionScratch, convolution.scratchCount) }

    mutating func include(strip rows: Int, _ columns: Int, _ inChannels: Int, _ dtype: DType, strips count: Int) {
        strip = max(strip, PaddedStrip.values(rows: rows, columns: columns, channels: inChannels, dtype: dtype))
        strips = max(strips, count)
    }
}

/// GroupNorm over all pixels of an image, affine.
struct GroupNorm: Sendable {
    static let epsilon = 1e-6
    let weight, bias: [Float]
}
