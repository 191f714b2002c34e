import AdapterFormat
import TensorMath

/// Where an image becomes tokens: its patches times the embedder's matrix, plus the positions; always in float32.
struct PatchEmbed: Sendable {
    private let configuration: DiTConfiguration
    private let projection: Matrix  // (D, C p p)
    private let positions: Matrix  // (T, D)

    init(_ configuration: DiTConfiguration, weights: Weights, positionScale: Double = 1) {
        let memory = Memory(capacity: Memory.paddedCount(configuration.tokens * configuration.hiddenSize))
        self.configuration = configuration
        projection = weights.xEmbedder
        positions = memory.take(configuration.tokens, configuration.hiddenSize)
        positions.copy(from: configuration.positions(scale: positionScale))
        memory.seal()
    }

    /// One image (C S S) to tokens (T, D), by way of its patches (T, C p p).
    func forward(_ image: Matrix, bias: Matrix, patches: Matrix, into tokens: Matrix) {
        Patches.cut(image, configuration, into: patches)
        multiply(.plain(patches), .transposed(projection), into: tokens)  // (T, D)
        addBias(tokens, bias)
        add(positions, to: tokens)
    }
}
