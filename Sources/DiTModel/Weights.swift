import AdapterFormat
import TensorFiles
import TensorMath

/// The matrices of the network, frozen outside full fine-tuning: each [outputs, inputs], no bias among them.
///
/// Gradients of full fine-tuning are this same table over other memory.
package struct Weights: Sendable {
    package let xEmbedder: Matrix  // (D, C p p)
    package let tEmbedder0: Matrix  // (D, 256)
    package let tEmbedder2: Matrix  // (D, D)
    /// Per block; nil where they are held packed instead.
    package let layers: [BlockLayers<Matrix>]?
    /// Per block.
    package let modulations: [Matrix]  // (6D, D)
    package let finalModulation: Matrix  // (2D, D)
    package let finalLinear: Matrix  // (p p Cout, D)

    /// Builds the table from the matrix found for each reference name and shape, asked for in state-dict order.
    /// - Parameter find: nil for the blocks' layers leaves these out.
    package init<E>(
        _ configuration: DiTConfiguration, find: (_ name: String, _ rows: Int, _ columns: Int) throws(E) -> Matrix?
    ) throws(E) {
        func matrix(_ name: String, _ rows: Int, _ columns: Int) throws(E) -> Matrix {
            guard let matrix = try find(name, rows, columns) else { preconditionFailure("there is no matrix \(name)") }
            return matrix
        }
        let D = configuration.hiddenSize
        xEmbedder = try matrix("x_embedder.proj.weight", D, configuration.patchInSize)
        tEmbedder0 = try matrix("t_embedder.mlp.0.weight", D, Conditioning.frequencies)
        tEmbedder2 = try matrix("t_embedder.mlp.2.weight", D, D)
        var layers: [String: Matrix] = [:], modulations: [Matrix] = []
        for block in 0..<configuration.depth {
            for linear in LowRank.Linear.allCases {
                let name = linear.name(block: block) + ".weight"
                layers[name] = try find(name, linear.outputs(configuration), linear.inputs(configuration))
            }
            modulations.append(try matrix("blocks.\(block).adaLN_modulation.1.weight", 6 * D, D))
        }
        self.layers = layers.isEmpty ? nil : BlockLayers.blocks(of: configuration, layers)
        self.modulations = modulations
        finalModulation = try matrix("final_layer.adaLN_modulation.1.weight", 2 * D, D)
        finalLinear = try matrix("final_layer.linear.weight", configuration.patchOutSize, D)
    }

    /// All matrices in the order of `DiTConfiguration.frozenTensors`.
    /// - Precondition: the blocks' layers are among them.
    package var all: [Matrix] {
        guard let layers else { preconditionFailure("the layers are held packed") }
        return [xEmbedder, tEmbedder0, tEmbedder2] + zip(layers, modulations).flatMap { $0.all + [$1] } + [finalModulation, finalLinear]
    }

    /// The same, each by its reference name.
    package func finder(_ configuration: DiTConfiguration) -> (_ name: String) -> Matrix {
        let matrices = Dictionary(uniqueKeysWithValues: zip(configuration.frozenTensors.map(\.name), all))
        return { name in
            guard let matrix = matrices[name] else { preconditionFailure("there is no matrix \(name)") }
            return matrix
        }
    }

    /// The blocks' layer of a reference name, such as "blocks.3.attn.qkv.weight".
    static func layer(_ name: String) -> LowRank.Linear? { LowRank.Linear.allCases.first { name.hasSuffix($0.rawValue + ".weight") } }

    /// Fresh zeroed memory for every matrix, in one allocation.
    package static func allocate(_ configuration: DiTConfiguration) -> (weights: Weights, memory: Memory) {
        let capacity = configuration.frozenTensors.reduce(0) { $0 + Memory.paddedCount($1.count) }
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
        package let pairs: BlockLayers<LowRankPair?>
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
                pairs: Tunables.pairs(layout, block: i, values: values))
        }
        finalLinearBias = view("final_layer.linear.bias")
        finalModulationBias = view("final_layer.adaLN_modulation.1.bias")
        self.classTable = classTable
    }
}

extension DiT {
    /// The network over a base file, for training.
    /// - Parameter preset: in place of what the base's card says.
    package init(_ base: BaseFile, preset: Preset? = nil) throws {
        let lasting = try base.convertedMemory { _ in true }
        let weights = try Weights(base.configuration) { name, rows, columns in try base.matrix(name, rows, columns, lasting) }
        lasting.seal()
        self.init(base.configuration, weights: weights, preset: preset ?? Preset(base.card))
    }
}

extension InferenceDiT {
    /// The network over a base file, for sampling. A matrix that is packed leaves no second copy in memory, and one that lies in the
    /// file in the form in which it is packed is not converted. Of a sparse base no zeros are held at bf16 and int8.
    /// - Parameter preset: in place of what the base's card says.
    /// - Throws: also `TensorMathError`, where the precision cannot be had; ask `Precision.fallback` first.
    package init(_ base: BaseFile, precision: Precision = .f32, preset: Preset? = nil) throws {
        let lasting = try base.convertedMemory { !InferenceDiT.isPacked($0, at: precision) }
        try self.init(
            base.configuration, precision: precision, preset: preset ?? Preset(base.card), compressesZeros: base.isSparse
        ) { name, rows, columns in
            guard InferenceDiT.isPacked(name, at: precision) else { return QuantizedMatrix(try base.matrix(name, rows, columns, lasting)) }
            if let stored = try base.bfloat16(name, rows, columns) { return stored }
            return QuantizedMatrix(try base.matrix(name, rows, columns, Memory(capacity: Memory.paddedCount(rows * columns))))
        }
        lasting.seal()
    }
}

extension BaseFile {
    /// A matrix where it lies in the mapped file, if it is float32 there; else converted into the next place of `memory`. Both
    /// are read-only from then on (law 7).
    fileprivate func matrix(_ name: String, _ rows: Int, _ columns: Int, _ memory: Memory) throws -> Matrix {
        let entry = try file.entry(name)
        if let (map, range) = entry.mapped, BaseFile.isUsable(entry) {
            return unsafe Matrix(readOnly: map.address(range), rows: rows, columns: columns, owner: map)
        }
        let matrix = memory.take(rows, columns)
        if let stored = try bfloat16(name, rows, columns) { return stored.floats(in: matrix) }
        matrix.copy(from: try file.floats(name))
        return matrix
    }

    /// A matrix where it lies in the mapped file, if it is bfloat16 there.
    fileprivate func bfloat16(_ name: String, _ rows: Int, _ columns: Int) throws -> QuantizedMatrix? {
        let entry = try file.entry(name)
        guard entry.dtype == .bf16, let (map, range) = entry.mapped, range.lowerBound.isMultiple(of: 2) else { return nil }
        return unsafe QuantizedMatrix(readOnlyBFloat16: map.address(range), rows: rows, columns: columns, owner: map)
    }

    /// Whether the mapped bytes are float32 values that may be read where they lie.
    private static func isUsable(_ entry: TensorEntry) -> Bool {
        entry.dtype == .f32 && entry.mapped.map { $0.range.lowerBound % 4 == 0 } ?? false
    }

    /// Memory for those of the chosen tensors that have to be converted.
    fileprivate func convertedMemory(_ isChosen: (String) -> Bool) throws -> Memory {
        let chosen = try configuration.frozenTensors.filter { isChosen($0.name) }.map { try file.entry($0.name) }
        return Memory(capacity: chosen.filter { !BaseFile.isUsable($0) }.reduce(0) { $0 + Memory.paddedCount($1.count) })
    }
}

/// Everything a training run can move, flat in one memory: the tunable values, the class table, and the matrices where the
/// set is full. Parameters, gradients, moments and averages are four of these over one table.
package struct TrainableValues: Sendable {
    package let tunables: Tunables
    /// The tunable values in layout order; of several vectors the first.
    package var vector: Matrix { vectors[0] }
    /// Several where a run trains a vector for each step of a sampler.
    package let vectors: [Matrix]
    /// (classes + 1, D).
    package let classTable: Matrix
    /// Present in full fine-tuning.
    package let weights: Weights?
    private let memory: Memory

    package init(_ layout: TunableLayout, classes: Int, withWeights: Bool, vectors count: Int = 1) {
        let configuration = layout.configuration
        let frozen = withWeights ? configuration.frozenTensors : []
        let capacity =
            count * Memory.paddedCount(layout.count) + Memory.paddedCount((classes + 1) * configuration.hiddenSize)
            + frozen.reduce(0) { $0 + Memory.paddedCount($1.count) }
        let memory = Memory(capacity: capacity)
        self.memory = memory
        vectors = (0..<count).map { _ in memory.take(layout.count) }
        classTable = memory.take(classes + 1, configuration.hiddenSize)
        tunables = Tunables(layout, values: vectors[0], classTable: classTable)
        weights = withWeights ? Weights(configuration) { _, rows, columns in memory.take(rows, columns) } : nil
    }

    /// Every value in one row, padding between the parts included (it stays zero).
    package var all: Matrix { memory.all }

    package func zero() { memory.zero() }

    /// Ranges of `all` that the set moves, neighbours joined; of several vectors those of the first.
    package func ranges(of set: TrainableSet, in layout: TunableLayout, withClassTable: Bool = true) -> [Range<Int>] {
        var ranges = set.tensors(of: layout).map(\.range)
        if withClassTable { ranges.append(vectors.count * Memory.paddedCount(layout.count)..<memory.used) }
        return ranges.reduce(into: []) { joined, next in
            if let last = joined.last, last.upperBound == next.lowerBound {
                joined[joined.count - 1] = last.lowerBound..<next.upperBound
            } else {
                joined.append(next)
            }
        }
    }
}
