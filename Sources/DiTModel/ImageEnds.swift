import AdapterFormat
import TensorMath

/// The two ends of the network, where an image becomes tokens and tokens become an image again; always in float32.
struct ImageEnds: Sendable {
    private let configuration: DiTConfiguration
    private let xEmbedder, finalLinear: Matrix
    private let positions: Matrix  // (T, D)
    private let ones, zeros: Matrix  // (D), the final layer's norm has no affine part

    init(_ configuration: DiTConfiguration, weights: Weights) {
        let D = configuration.hiddenSize
        let memory = Memory(capacity: Memory.paddedCount(configuration.tokens * D) + 2 * Memory.paddedCount(D))
        self.configuration = configuration
        xEmbedder = weights.xEmbedder
        finalLinear = weights.finalLinear
        positions = memory.take(configuration.tokens, D)
        ones = memory.take(D)
        zeros = memory.take(D)
        positions.copy(from: configuration.positions)
        ones.fill(1)
        memory.seal()
    }

    /// One image (C S S) to tokens (T, D), by way of its patches (T, C p p).
    func embed(_ image: Matrix, bias: Matrix, patches: Matrix, into tokens: Matrix) {
        Patches.cut(image, configuration, into: patches)
        multiply(.plain(patches), .transposed(xEmbedder), into: tokens)  // (T, D)
        addBias(tokens, bias)
        add(positions, to: tokens)
    }

    /// The memory of the final layer for one image.
    struct Last {
        let scale, shift: Matrix  // (D)
        let normed: Matrix  // (T, D)
        let mean, rstd: Matrix  // (T)
        let patches: Matrix  // (T, p p Cout)
    }

    /// Tokens (T, D) to one image (Cout S S).
    /// - Parameter modulation: (2D), shift then scale.
    func finish(_ tokens: Matrix, modulation: Matrix, bias: Matrix, _ last: Last, into image: Matrix) {
        let D = configuration.hiddenSize
        foldModulation(
            weight: ones, bias: zeros, scale: modulation.values(D..<(2 * D)), shift: modulation.values(0..<D), into: last.scale, last.shift)
        normModulate(
            tokens, scale: last.scale, shift: last.shift, epsilon: TransformerBlock.normEpsilon, into: last.normed, mean: last.mean,
            rstd: last.rstd)
        multiply(.plain(last.normed), .transposed(finalLinear), into: last.patches)  // (T, p p Cout)
        addBias(last.patches, bias)
        Patches.join(last.patches, configuration, into: image)
    }
}
