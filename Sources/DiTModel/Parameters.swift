import AdapterFormat
import TensorMath

/// The matrices of the network, frozen outside full fine-tuning: each [outputs, inputs], no bias among them.
///
/// Gradients of full fine-tuning are this same table over other memory.
package struct Weights: Sendable {
    package struct Block: Sendable {
        package let qkv: Matrix  // (3D, D)
        package let proj: Matrix  // (D, D)
        package let fc1: Matrix  // (4D, D)
        package let fc2: Matrix  // (D, 4D)
        package let modulation: Matrix  // (6D, D)
    }
    package let xEmbedder: Matrix  // (D, C p p)
    package let tEmbedder0: Matrix  // (D, 256)
    package let tEmbedder2: Matrix  // (D, D)
    package let blocks: [Block]
    package let finalModulation: Matrix  // (2D, D)
    package let finalLinear: Matrix  // (p p Cout, D)

    /// Builds the table from the matrix found for each reference name and shape.
    package init(_ configuration: DiTConfiguration, find: (_ name: String, _ rows: Int, _ columns: Int) throws -> Matrix) rethrows {
        let D = configuration.hiddenSize
        xEmbedder = try find("x_embedder.proj.weight", D, configuration.patchInSize)
        tEmbedder0 = try find("t_embedder.mlp.0.weight", D, Conditioning.frequencies)
        tEmbedder2 = try find("t_embedder.mlp.2.weight", D, D)
        blocks = try (0..<configuration.depth).map { i in
            let b = "blocks.\(i)."
            return Block(
                qkv: try find(b + "attn.qkv.weight", 3 * D, D),
                proj: try find(b + "attn.proj.weight", D, D),
                fc1: try find(b + "mlp.fc1.weight", 4 * D, D),
                fc2: try find(b + "mlp.fc2.weight", D, 4 * D),
                modulation: try find(b + "adaLN_modulation.1.weight", 6 * D, D))
        }
        finalModulation = try find("final_layer.adaLN_modulation.1.weight", 2 * D, D)
        finalLinear = try find("final_layer.linear.weight", configuration.patchOutSize, D)
    }

    /// The matrices in the order of `names`.
    package var all: [Matrix] {
        [xEmbedder, tEmbedder0, tEmbedder2] + blocks.flatMap { [$0.qkv, $0.proj, $0.fc1, $0.fc2, $0.modulation] }
            + [finalModulation, finalLinear]
    }

    /// Reference names and shapes in state-dict order.
    package static func names(_ configuration: DiTConfiguration) -> [(name: String, rows: Int, columns: Int)] {
        var list: [(name: String, rows: Int, columns: Int)] = []
        let shapeOnly = Memory(capacity: 0).take(0, 0)
        _ = Weights(configuration) { name, rows, columns in
            list.append((name, rows, columns))
            return shapeOnly
        }
        return list
    }

    /// Whether a name is that of one of a block's four matrices that tokens go through.
    static func isLayer(_ name: String) -> Bool {
        ["attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight"].contains(where: name.hasSuffix)
    }

    /// The matrices by reference name, as another network's `find`.
    func finder(_ configuration: DiTConfiguration) -> (_ name: String, _ rows: Int, _ columns: Int) -> Matrix {
        let matrices = Dictionary(uniqueKeysWithValues: zip(Weights.names(configuration).map(\.name), all))
        return { name, _, _ in
            guard let matrix = matrices[name] else { preconditionFailure("the network has no matrix \(name)") }
            return matrix
        }
    }

    /// Fresh zeroed memory for every matrix, in one allocation.
    package static func allocate(_ configuration: DiTConfiguration) -> (weights: Weights, memory: Memory) {
        let capacity = names(configuration).reduce(0) { $0 + Memory.paddedCount($1.rows * $1.columns) }
        let memory = Memory(capacity: capacity)
        return (Weights(configuration) { _, rows, columns in memory.take(rows, columns) }, memory)
    }
}

/// The tunable values as the network reads them: views into one adapter slot, or into gradients of the same layout.
package struct Tunables: Sendable {
    package struct Block: Sendable {
        package let norm1Weight, norm1Bias: Matrix  // (D)
        package let qkvBias, attnGamma1: Matrix  // (3D)
        package let projBias, attnGamma2, gamma1: Matrix  // (D)
        package let norm2Weight, norm2Bias: Matrix  // (D)
        package let fc1Bias: Matrix  // (4D)
        package let fc2Bias, gamma2: Matrix  // (D)
        package let modulationBias: Matrix  // (6D)
        package let pairs: LowRankPairs
    }
    package let xEmbedderBias, tEmbedder0Bias, tEmbedder2Bias: Matrix  // (D)
    package let blocks: [Block]
    package let finalLinearBias: Matrix  // (p p Cout)
    package let finalModulationBias: Matrix  // (2D)
    /// One row per class and the null row last; rows beyond the domain's own are unused.
    package let classTable: Matrix  // (rows, D)

    /// - Parameters:
    ///   - values: the vector's values in layout order.
    ///   - classTable: (rows, D).
    package init(_ layout: TunableLayout, values: Matrix, classTable: Matrix) {
        func view(_ name: String) -> Matrix {
            guard let tensor = layout[name] else { preconditionFailure("the layout has no tensor \(name)") }
            return values.values(tensor.range)
        }
        xEmbedderBias = view("x_embedder.proj.bias")
        tEmbedder0Bias = view("t_embedder.mlp.0.bias")
        tEmbedder2Bias = view("t_embedder.mlp.2.bias")
        blocks = (0..<layout.configuration.depth).map { i in
            let b = "blocks.\(i)."
            return Block(
                norm1Weight: view(b + "norm1.weight"), norm1Bias: view(b + "norm1.bias"),
                qkvBias: view(b + "attn.qkv.bias"), attnGamma1: view(b + "attn.gamma1"),
                projBias: view(b + "attn.proj.bias"), attnGamma2: view(b + "attn.gamma2"), gamma1: view(b + "gamma1"),
                norm2Weight: view(b + "norm2.weight"), norm2Bias: view(b + "norm2.bias"),
                fc1Bias: view(b + "mlp.fc1.bias"),
                fc2Bias: view(b + "mlp.fc2.bias"), gamma2: view(b + "gamma2"),
                modulationBias: view(b + "adaLN_modulation.1.bias"),
                pairs: LowRankPairs(layout, block: i, values: values))
        }
        finalLinearBias = view("final_layer.linear.bias")
        finalModulationBias = view("final_layer.adaLN_modulation.1.bias")
        self.classTable = classTable
    }
}
