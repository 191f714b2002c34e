import AdapterFormat
import TensorMath

/// Where tokens become an image again: a modulated norm and a linear layer; always in float32.
struct FinalLayer: Sendable {
    private let configuration: DiTConfiguration
    private let linear: Matrix  // (p p Cout, D)
    private let ones, zeros: Matrix  // (D), its norm has no affine part

    init(_ configuration: DiTConfiguration, weights: Weights) {
        let D = configuration.hiddenSize
        let memory = Memory(capacity: 2 * Memory.paddedCount(D))
        self.configuration = configuration
        linear = weights.finalLinear
        ones = memory.take(D)
        zeros = memory.take(D)
        ones.fill(1)
        memory.seal()
    }

    /// The memory of one image's pass.
    struct Workspace {
        let scale, shift: Matrix  // (D)
        let normed: Matrix  // (T, D)
        let mean, rstd: Matrix  // (T)
        let patches: Matrix  // (T, p p Cout)
    }

    /// Tokens (T, D) to one image (Cout S S).
    /// - Parameter modulation: (2D), shift then scale.
    func forward(_ tokens: Matrix, modulation: Matrix, bias: Matrix, _ space: Workspace, into image: Matrix) {
        let D = configuration.hiddenSize
        foldModulation(
            weight: ones, bias: zeros, scale: modulation.values(D..<(2 * D)), shift: modulation.values(0..<D), into: space.scale, space.shift)
        normModulate(
            tokens, scale: space.scale, shift: space.shift, epsilon: TransformerBlock.normEpsilon, into: space.normed, mean: space.mean,
            rstd: space.rstd)
        multiply(.plain(space.normed), .transposed(linear), into: space.patches)  // (T, p p Cout)
        addBias(space.patches, bias)
        Patches.join(space.patches, configuration, into: image)
    }
}
