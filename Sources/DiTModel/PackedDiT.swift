import AdapterFormat
import TensorMath

/// The diffusion transformer as sampling runs it: the blocks' matrices packed once for one precision, all else in float32.
///
/// It holds no bias and no gamma, so an adapter is the same vector at every precision and a swap costs the same.
package struct PackedDiT: Sendable {
    package let configuration: DiTConfiguration
    package let precision: Precision
    package let preset: Preset
    /// Embedders and modulations; the blocks' own four matrices lie in `blocks`.
    let weights: Weights
    let blocks: [PackedBlock]
    let shape: BlockShape
    /// Values of accumulators and bytes of scratch of the largest product.
    let workspace: (accumulators: Int, scratch: Int)
    private let patchEmbed: PatchEmbed
    private let finalLayer: FinalLayer

    /// - Parameter find: the matrix of each reference name and shape, asked for once each, in state-dict order; in float32 but for those
    ///   that are packed (`isPacked`).
    /// - Throws: what `find` throws; `TensorMathError` where the precision cannot be had.
    package init(
        _ configuration: DiTConfiguration, precision: Precision, preset: Preset = .original, positionScale: Double = 1,
        find: (_ name: String, _ rows: Int, _ columns: Int) throws -> StoredMatrix
    ) throws {
        let tiles = Tiles(tokens: configuration.tokens)
        let packer = WeightPacker(tileRows: tiles.rows)
        var packed: [String: PackedMatrix] = [:]
        let elsewhere = Memory(capacity: 0).take(0, 0)
        weights = try Weights(configuration) { name, rows, columns in
            let matrix = try find(name, rows, columns)
            guard Weights.isLayer(name) else { return matrix.floats }
            let form = precision.operand(isMLPOutput: name.hasSuffix("mlp.fc2.weight"))
            packed[name] = try PackedMatrix(matrix, form: form, with: packer)
            return elsewhere
        }
        blocks = (0..<configuration.depth).map { i in
            func layer(_ name: String) -> PackedMatrix {
                guard let matrix = packed["blocks.\(i).\(name)"] else { preconditionFailure("block \(i) has no \(name)") }
                return matrix
            }
            return PackedBlock(
                qkv: layer("attn.qkv.weight"), proj: layer("attn.proj.weight"), fc1: layer("mlp.fc1.weight"), fc2: layer("mlp.fc2.weight"))
        }
        self.configuration = configuration
        self.precision = precision
        self.preset = preset
        shape = BlockShape(tiles: tiles, heads: configuration.numHeads, mlpNormEpsilon: preset.mlpNormEpsilon)
        workspace = packer.workspace(accumulatorsFor: Array(packed.values))
        patchEmbed = PatchEmbed(configuration, weights: weights, positionScale: positionScale)
        finalLayer = FinalLayer(configuration, weights: weights)
    }

    /// Whether a matrix is needed no more once it is packed.
    package static func isPacked(_ name: String, at precision: Precision) -> Bool {
        Weights.isLayer(name) && PackedMatrix.copies(precision.operand(isMLPOutput: false))
    }

    private init(_ model: PackedDiT, _ configuration: DiTConfiguration, positionScale: Double) throws(TensorMathError) {
        let tiles = Tiles(tokens: configuration.tokens)
        let packer = WeightPacker(tileRows: tiles.rows)
        var blocks: [PackedBlock] = []
        for block in model.blocks { blocks.append(try block.retiled(with: packer)) }
        self.configuration = configuration
        precision = model.precision
        preset = model.preset
        weights = model.weights
        self.blocks = blocks
        shape = BlockShape(tiles: tiles, heads: model.shape.heads, mlpNormEpsilon: model.shape.mlpNormEpsilon)
        workspace = packer.workspace(accumulatorsFor: blocks.flatMap(\.all))
        patchEmbed = PatchEmbed(configuration, weights: model.weights, positionScale: positionScale)
        finalLayer = FinalLayer(configuration, weights: model.weights)
    }

    /// The same matrices, not copied, for an adapter's images: nothing but positions and the cut into tiles differs.
    /// - Parameter grid: nil is this network's own.
    package func fitting(_ grid: ImageGrid?) throws(TensorMathError) -> PackedDiT {
        guard let grid else { return self }
        var resized = configuration
        resized.inputSize = grid.size
        return try PackedDiT(self, resized, positionScale: grid.positionScale)
    }

    /// Packs the matrices of a network in memory.
    package init(_ model: DiT, precision: Precision = .f32) throws {
        let find = model.weights.finder(model.configuration)
        try self.init(model.configuration, precision: precision, preset: model.preset, positionScale: model.positionScale) { .floats(find($0, $1, $2)) }
    }

    /// Bytes of the packed copies.
    package var packedBytes: Int { blocks.flatMap(\.all).reduce(0) { $0 + $1.bytes } }

    /// Conditioning of `classes.count` rows of `state` from `first` on.
    package func condition(
        _ state: ConditioningState, from first: Int = 0, times: [Float], classes: [Int], tunables: [Tunables], group: ThreadGroup = .solo
    ) {
        Conditioning.forward(
            state, from: first, times: times, classes: classes, tunables: tunables, weights: weights, preset: preset, group: group)
    }

    /// Takes one image through the network.
    /// - Parameters:
    ///   - x: (C S S).
    ///   - row: of the conditioning.
    ///   - tunables: the image's domain.
    ///   - out: (Cout S S).
    ///   - cacheAction: whether the blocks run, or what they add is given.
    ///   - onStage: sees the tokens (T, D) that enter block 0 and then each block's output.
    package func forward(
        _ pass: SamplingPass, x: Matrix, conditioning: ConditioningState, row: Int, tunables: Tunables, cacheAction: ResidualCacheAction = .run, group: ThreadGroup = .solo,
        into out: Matrix, onStage: (Matrix) -> Void = { _ in }
    ) {
        patchEmbed.forward(x, bias: tunables.xEmbedderBias, patches: pass.patches, into: pass.x)
        onStage(pass.x)
        if case .skip(let residual) = cacheAction {
            add(residual, to: pass.x)
            return finalLayer.forward(pass.x, modulation: conditioning.final.row(row), bias: tunables.finalLinearBias, pass.finalLayer, into: out)
        }
        if case .keep(let residual) = cacheAction { residual.copy(from: pass.x) }
        for (i, block) in blocks.enumerated() {
            block.forward(pass, tunables: tunables.blocks[i], modulation: conditioning.block(i).row(row), shape: shape, group: group)
            onStage(pass.x)
        }
        if case .keep(let residual) = cacheAction { pass.x.differ(from: residual) }
        finalLayer.forward(pass.x, modulation: conditioning.final.row(row), bias: tunables.finalLinearBias, pass.finalLayer, into: out)
    }

    /// The products of the blocks and nothing else, for benchmarks.
    package func multiplyAlone(_ pass: SamplingPass, group: ThreadGroup = .solo) {
        for block in blocks { block.multiplyAlone(pass, shape: shape, group: group) }
    }

    /// A few images of one domain one after the other, on this thread: for checks rather than for speed.
    /// - Parameters:
    ///   - x: (n, C S S).
    ///   - out: (n, Cout S S).
    ///   - onStage: sees the tokens that enter block 0 and each block's output, of all images (n T D).
    package func forward(
        x: Matrix, times: [Float], classes: [Int], tunables: Tunables, into out: Matrix, onStage: (([Float]) -> Void)? = nil
    ) {
        let conditioning = ConditioningState(configuration, rows: x.rows)
        condition(conditioning, times: times, classes: classes, tunables: [Tunables](repeating: tunables, count: x.rows))
        let pass = SamplingPass(self)
        var stages = [[Float]](repeating: [], count: onStage == nil ? 0 : blocks.count + 1)
        for image in 0..<x.rows {
            var stage = 0
            forward(pass, x: x.row(image), conditioning: conditioning, row: image, tunables: tunables, into: out.row(image)) { values in
                if !stages.isEmpty { stages[stage] += values.array }
                stage += 1
            }
        }
        if let onStage { stages.forEach(onStage) }
    }
}
