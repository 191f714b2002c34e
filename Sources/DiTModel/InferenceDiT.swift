import AdapterFormat
import TensorMath

/// The diffusion transformer as sampling runs it: the blocks' matrices packed once for one precision, all else in float32.
///
/// It holds no bias and no gamma, so an adapter is the same vector at every precision and a swap costs the same.
package struct InferenceDiT: Sendable {
    package let configuration: DiTConfiguration
    package let precision: Precision
    package let preset: Preset
    /// What multiplies at bfloat16 and in bytes in place of oneDNN.
    package let matrixTiles: MatrixTiles?
    /// Embedders and modulations; the blocks' own four matrices lie in `blocks`.
    let weights: Weights
    let blocks: [InferenceBlock]
    let shape: BlockShape
    let need: ProductWorkspace.Need
    private let patchEmbed: PatchEmbed
    private let finalLayer: FinalLayer

    /// - Parameters:
    ///   - matrixTiles: where the rows of products lie in matrix tiles, what multiplies them.
    ///   - compressesZeros: whether zeros of the packed matrices are held as a bit each, which changes no byte of the output.
    ///   - find: the matrix of each reference name and shape, asked for once each, in state-dict order; in float32 but for those that are
    ///     packed (`isPacked`).
    /// - Throws: what `find` throws; `TensorMathError` where the precision cannot be had.
    package init(
        _ configuration: DiTConfiguration, precision: Precision, preset: Preset = .original, positionScale: Double = 1,
        matrixTiles: MatrixTiles? = .native, compressesZeros: Bool = false,
        find: (_ name: String, _ rows: Int, _ columns: Int) throws -> QuantizedMatrix
    ) throws {
        let tiles = Tiles(tokens: configuration.tokens)
        let packer = WeightPacker(heights: [tiles.rows], matrixTiles: matrixTiles, compressesZeros: compressesZeros)
        var packed: [String: PackedMatrix] = [:]
        weights = try Weights(configuration) { name, rows, columns in
            let matrix = try find(name, rows, columns)
            guard let layer = Weights.layer(name) else { return matrix.matrix }
            packed[name] = try PackedMatrix(matrix, WeightForm(precision.dtype(isMLPOutput: layer == .fc2)), with: packer)
            return nil
        }
        blocks = BlockLayers.blocks(of: configuration, packed).map(InferenceBlock.init)
        self.configuration = configuration
        self.precision = precision
        self.preset = preset
        self.matrixTiles = matrixTiles
        shape = BlockShape(tiles: tiles, heads: configuration.numHeads, mlpNormEpsilon: preset.mlpNormEpsilon)
        need = packer.need(Array(packed.values))
        patchEmbed = PatchEmbed(configuration, weights: weights, positionScale: positionScale)
        finalLayer = FinalLayer(configuration, weights: weights)
    }

    /// Whether a matrix is needed no more once it is packed.
    package static func isPacked(_ name: String, at precision: Precision) -> Bool {
        Weights.layer(name) != nil && WeightForm(precision.dtype(isMLPOutput: false)) != .plain
    }

    private init(_ model: InferenceDiT, _ configuration: DiTConfiguration, positionScale: Double) throws(TensorMathError) {
        let tiles = Tiles(tokens: configuration.tokens)
        let packer = WeightPacker(heights: [tiles.rows])
        var blocks: [InferenceBlock] = []
        for block in model.blocks {
            blocks.append(InferenceBlock(layers: try block.layers.map { layer throws(TensorMathError) in try layer.retiled(with: packer) }))
        }
        self.configuration = configuration
        precision = model.precision
        preset = model.preset
        matrixTiles = model.matrixTiles
        weights = model.weights
        self.blocks = blocks
        shape = BlockShape(tiles: tiles, heads: model.shape.heads, mlpNormEpsilon: model.shape.mlpNormEpsilon)
        need = packer.need(blocks.flatMap(\.layers.all))
        patchEmbed = PatchEmbed(configuration, weights: model.weights, positionScale: positionScale)
        finalLayer = FinalLayer(configuration, weights: model.weights)
    }

    /// The same matrices, not copied, for an adapter's images: nothing but positions and the cut into tiles differs.
    /// - Parameter grid: nil is this network's own.
    package func fitting(_ grid: ImageGrid?) throws(TensorMathError) -> InferenceDiT {
        guard let grid else { return self }
        var resized = configuration
        resized.inputSize = grid.size
        return try InferenceDiT(self, resized, positionScale: grid.positionScale)
    }

    /// Packs the matrices of a network in memory.
    package init(_ model: DiT, precision: Precision = .f32, matrixTiles: MatrixTiles? = .native, compressesZeros: Bool = false) throws {
        let matrix = model.weights.finder(model.configuration)
        try self.init(
            model.configuration, precision: precision, preset: model.preset, positionScale: model.positionScale, matrixTiles: matrixTiles,
            compressesZeros: compressesZeros
        ) { name, _, _ in QuantizedMatrix(matrix(name)) }
    }

    /// Bytes of the packed copies.
    package var packedBytes: Int { blocks.flatMap(\.layers.all).reduce(0) { $0 + $1.bytes } }

    /// Bytes that the blocks of one row read and write beside their matrices: each layer what goes in, once, and what comes out; the residual
    /// stream in float32.
    package var streamedBytes: Int {
        let between = precision == .f32 ? DType.f32.size : DType.bf16.size
        let (input, mlp) = (precision.dtype(isMLPOutput: false).size, precision.dtype(isMLPOutput: true).size)
        // In values of one token's D: norm, qkv, attention, proj, norm, fc1, fc2, and the rows that are made bytes of.
        let norms = 2 * (DType.f32.size + input), products = input + 3 * between + input + 2 * DType.f32.size + input + 4 * between
        let fc2 = 4 * mlp + 2 * DType.f32.size, attention = 4 * between
        let quantised = (input == between ? 0 : between + input) + (mlp == between ? 0 : 4 * (between + mlp))
        return configuration.depth * configuration.tokens * configuration.hiddenSize * (norms + products + fc2 + attention + quantised)
    }

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
        _ pass: InferenceWorkspace, x: Matrix, conditioning: ConditioningState, row: Int, tunables: Tunables, cacheAction: ResidualCacheAction = .run,
        group: ThreadGroup = .solo,
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
    package func multiplyAlone(_ pass: InferenceWorkspace, group: ThreadGroup = .solo) {
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
        let pass = InferenceWorkspace(self)
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

/// One network call over a batch in which each image has its own domain, timestep and class.
///
/// The pool takes the images first; what does not fill all threads is shared token by token. Either way an image goes through
/// the same products of the same shapes, so its bytes are those it has alone (law 5).
package final class DiTBatch {
    package let model: InferenceDiT
    /// May give way to a larger one between calls.
    package var adapterSlots: AdapterSlots
    /// Rows whose conditioning is worth computing at once.
    package static let rowsAhead = ModulationCache.rowsAtOnce
    private let pool: ThreadPool
    private var modulations: ModulationCache
    private let lanePasses: [InferenceWorkspace]
    private let sharedPass: InferenceWorkspace

    /// - Parameter rows: images of one call at most.
    package init(_ model: InferenceDiT, adapterSlots: AdapterSlots, rows: Int, pool: ThreadPool) {
        self.model = model
        self.adapterSlots = adapterSlots
        self.pool = pool
        modulations = ModulationCache(model, rows: rows)
        lanePasses = (0..<pool.threadCount).map { _ in InferenceWorkspace(model) }
        sharedPass = InferenceWorkspace(model, threads: pool.threadCount)
    }

    /// Bytes that a batch for images of a grid takes, with what goes in and comes out of it: about, and known before it is built.
    package static func bytes(_ model: InferenceDiT, fitting grid: ImageGrid, rows: Int, threads: Int) -> Int {
        var c = model.configuration
        c.inputSize = grid.size
        let (T, D) = (c.tokens, c.hiddenSize)
        // A pass per thread and one that all share, each with the residual stream, its layers and the scores of a head per thread.
        let stream = T * (14 * D + LowRankPair.sliceRank + c.patchInSize + c.patchOutSize), scores = T * T
        let ends = rows * (c.inChannels + c.outChannels) * grid.size * grid.size
        return MemoryLayout<Float>.size * ((threads + 1) * stream + 2 * threads * scores + ends) + ModulationCache.bytes(c, rows: rows)
    }

    /// - Parameters:
    ///   - x: (n, C S S).
    ///   - times: t per image, as the embedder takes it.
    ///   - classes: row of the image's class table.
    ///   - slots: the domain of each image.
    ///   - cacheActions: what becomes of each image's blocks; empty runs them all.
    ///   - ahead: rows of the calls to come, the next first: their conditioning is computed along with that of this call.
    ///   - out: (n, Cout S S).
    package func forward(
        x: Matrix, times: [Float], classes: [Int], slots: [Int], cacheActions: [ResidualCacheAction] = [], ahead: () -> [ConditionedRow] = { [] },
        into out: Matrix
    ) {
        let cacheAction = { (image: Int) in cacheActions.isEmpty ? ResidualCacheAction.run : cacheActions[image] }
        let domains = slots.map { adapterSlots.tunables[$0] }
        let rows = zip(times, zip(classes, slots)).map { ConditionedRow(time: $0, classRow: $1.0, slot: $1.1) }
        let places = modulations.places(of: rows, ahead: ahead, adapterSlots: adapterSlots, model: model, group: .pool(pool))
        let conditioning = modulations.state
        let dealt = x.rows / pool.threadCount * pool.threadCount
        pool.run { thread in
            for image in stride(from: thread, to: dealt, by: pool.threadCount) {
                model.forward(
                    lanePasses[thread], x: x.row(image), conditioning: conditioning, row: places[image], tunables: domains[image],
                    cacheAction: cacheAction(image), into: out.row(image))
            }
        }
        for image in dealt..<x.rows {
            model.forward(
                sharedPass, x: x.row(image), conditioning: conditioning, row: places[image], tunables: domains[image],
                cacheAction: cacheAction(image), group: .pool(pool), into: out.row(image))
        }
    }
}

/// What becomes of the blocks in one image's pass: a sampling cache runs them at some steps and reuses what they added at others.
package enum ResidualCacheAction: Sendable {
    case run
    /// Run, and write what all blocks together added to the tokens, (T, D).
    case keep(Matrix)
    /// Only embed, add this to the tokens, and go through the final layer.
    case skip(Matrix)
}

extension Matrix {
    /// other = self - other.
    func differ(from other: Matrix) {
        withSpan { a in
            other.withMutableSpan { other in for i in other.indices { other[i] = a[i] - other[i] } }
        }
    }
}

extension InferenceDiT {
    /// Sixteen values of one fixed network call with an adapter in place: kept in the adapter's manifest, they show later, on
    /// any machine, that the adapter is applied, on this base, by this build.
    ///
    /// Values rather than a digest of them: another processor or library rounds otherwise, and no digest survives that.
    package func goldenValues(_ vector: TunableVector, _ classes: ClassTable, layout: TunableLayout) -> [Float] {
        let c = configuration
        let plane = c.inputSize * c.inputSize
        let adapterSlots = AdapterSlots(layout, count: 1, classRows: classes.rows)
        adapterSlots.install(vector, classes, slot: 0)
        let batch = DiTBatch(self, adapterSlots: adapterSlots, rows: 1, pool: ThreadPool(threads: 1))
        let memory = Memory(capacity: Memory.paddedCount(c.inChannels * plane) + Memory.paddedCount(c.outChannels * plane))
        let x = memory.take(c.inChannels * plane), out = memory.take(c.outChannels * plane)
        Philox(seed: 0, stream: 0).normals(into: x)
        batch.forward(x: x, times: [500], classes: [0], slots: [0], into: out)
        let values = out.array
        return (0..<16).map { values[$0 * values.count / 16] }
    }

    /// The same of a whole adapter, at the resolution that it was trained at.
    /// Of several step vectors it is the first's.
    package func goldenValues(of adapter: Adapter, over base: TunableLayout) throws -> [Float] {
        let adapter = adapter.step(0, over: base)
        return try fitting(adapter.manifest.imageGrid).goldenValues(adapter.vector, adapter.classes, layout: base)
    }

    /// Whether two calls gave the same, but for rounding.
    package static func agree(_ a: [Float], _ b: [Float]) -> Bool {
        let largest = b.reduce(0) { max($0, abs($1)) }
        return a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= 1e-3 * largest }
    }
}
