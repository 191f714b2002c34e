import AdapterFormat
import TensorMath

/// How the T rows of an image are cut: tiles of one matrix product, and parts of a tile for what works row by row.
///
/// The cut is a function of the shape alone, so an image's bytes do not depend on its batch or on how many threads share it (law 5).
struct Tiles: Sendable {
    let tokens: Int
    /// Rows of one product: an even part of the image, large enough for full speed, small enough for a core's cache.
    let rows: Int

    init(tokens: Int) {
        var rows = tokens
        while rows > 256 && rows.isMultiple(of: 2) { rows /= 2 }
        self.tokens = tokens
        self.rows = rows
    }

    private static let part = 32
    var parts: Int { (tokens + Tiles.part - 1) / Tiles.part }
    func part(_ index: Int) -> Range<Int> { (index * Tiles.part)..<min(tokens, (index + 1) * Tiles.part) }
}

/// The memory of one image on its way through a packed network: taken once, used again for every image and step.
package struct InferenceWorkspace: Sendable {
    let patches: Matrix  // (T, C p p)
    /// The residual stream, in float32 at every precision.
    let x: Matrix  // (T, D)
    /// What enters W_qkv and W_fc1.
    let normed: QuantizedMatrix  // (T, D)
    let qkv: QuantizedMatrix  // (T, 3D)
    let attended: QuantizedMatrix  // (T, D)
    let activated: QuantizedMatrix  // (T, 4D)
    /// The two above as their products read them: themselves, or bytes.
    let projInput, fc2Input: QuantizedMatrix
    /// A x of the low-rank pair beside the layer at hand, (T, shared ranks).
    let lowRank: Matrix
    /// At any precision but float32.
    let headAttention: HeadAttention
    let folded: FoldedVectors
    let finalLayer: FinalLayer.Workspace
    /// Per thread that may work at once.
    let scratch: [ThreadScratch]

    struct ThreadScratch: Sendable {
        let workspace: ProductWorkspace
        /// The scores of one head, or the scratch of a fused one.
        let attention: Matrix
        /// For the ranks of a pair that are not shared, of one tile: A x.
        let lowRank: Matrix
        /// And x in float32, where the layer reads another element type.
        let floats: Matrix?
    }

    /// - Parameter threads: threads that may share one image.
    package init(_ model: InferenceDiT, threads: Int = 1) {
        let capacity = Memory.count { _ = InferenceWorkspace(model, threads: threads, in: $0) }
        self.init(model, threads: threads, in: Memory(capacity: capacity))
    }

    private init(_ model: InferenceDiT, threads: Int, in memory: Memory) {
        let c = model.configuration
        let (T, D) = (c.tokens, c.hiddenSize)
        // Between layers nothing is kept in bytes: a row's range is known when all of it is there.
        let between: DType = model.precision == .f32 ? .f32 : .bf16
        let inTiles = { (dtype: DType) in model.matrixTiles?.multiplies(dtype) ?? false }
        let (input, mlp) = (model.precision.dtype(isMLPOutput: false), model.precision.dtype(isMLPOutput: true))
        patches = memory.take(T, c.patchInSize)
        x = memory.take(T, D)
        normed = memory.take(T, D, input, tiled: inTiles(input))
        qkv = memory.take(T, 3 * D, between)
        attended = memory.take(T, D, between, tiled: input == between && inTiles(input))
        activated = memory.take(T, 4 * D, between, tiled: mlp == between && inTiles(mlp))
        projInput = input == between ? attended : memory.take(T, D, input, tiled: inTiles(input))
        fc2Input = mlp == between ? activated : memory.take(T, 4 * D, mlp, tiled: inTiles(mlp))
        folded = FoldedVectors(
            scale1: memory.take(1, D), shift1: memory.take(1, D), factor1: memory.take(1, D), scale2: memory.take(1, D), shift2: memory.take(1, D),
            factor2: memory.take(1, D))
        finalLayer = FinalLayer.Workspace(
            scale: memory.take(1, D), shift: memory.take(1, D), normed: memory.take(T, D), mean: memory.take(1, T), rstd: memory.take(1, T),
            patches: memory.take(T, c.patchOutSize))
        lowRank = memory.take(1, T * LowRankPair.sliceRank)
        headAttention = HeadAttention(tokens: T, head: c.headDimension, isTiled: attended.isTiled, matrixTiles: model.matrixTiles)
        let scores = between == .f32 ? T * T : headAttention.scratchCount
        self.scratch = (0..<threads).map { _ in
            ThreadScratch(
                workspace: ProductWorkspace(model.need, line: 4 * D, take: memory.take),
                attention: memory.take(1, scores), lowRank: memory.take(1, model.need.rows * LowRankPair.sliceRank),
                floats: between == .f32 ? nil : memory.take(1, model.need.rows * 4 * D))
        }
    }
}
