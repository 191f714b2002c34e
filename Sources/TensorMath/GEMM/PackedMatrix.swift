import CKernels

/// A frozen matrix [outputs, inputs] laid out once for products with tiles of rows, in panels of outputs that fit a cache.
///
/// A tile always goes through the same products of the same shapes, so a row's bytes depend on nothing but the row (law 5). The
/// pages are read-only (law 7), and hold no value of any adapter (law 1).
// @unchecked: the addresses never change and the pages behind them are sealed.
@safe package struct PackedMatrix: @unchecked Sendable {
    package let outputs, inputs: Int
    package let panelOutputs: Int
    /// Rows of one product at most.
    package private(set) var tileRows: Int
    private var panelWeights: [PanelWeights]
    /// Of bytes alone: per output, symmetric.
    private let quantization: Quantization?
    /// Of bytes alone: their sum per output, which a product needs for the zero points of the other factor.
    private let sums: UnsafeMutablePointer<Int32>?
    /// Where scales and sums lie.
    private let memory: Memory?

    package var panels: Int { panelWeights.count }

    /// Bytes of the packed copy.
    package var bytes: Int {
        panelWeights.reduce(0) { sum, panel in
            switch panel {
            case .kernels(.plain): sum
            case .kernels(.packed(_, let copy)): sum + copy.count * 4
            case .tiles(let weights): sum + weights.bytes
            case .compressed(_, let copy): sum + copy.bytes
            }
        }
    }

    /// Lays `w` [outputs, inputs] out in a form. Bytes and bfloat16 that are zero are left out where the packer says so and it saves memory;
    /// float32 is always held whole.
    package init(_ w: QuantizedMatrix, _ form: WeightForm, with packer: WeightPacker) throws(TensorMathError) {
        outputs = w.rows
        inputs = w.columns
        let tiles = packer.tiles(for: form.dtype)
        tileRows = tiles.map { _ in TileWeights.tileRows(form.dtype, inputs: w.columns) } ?? packer.tileRows
        let panelOutputs = tiles.map { _ in TileWeights.panel(outputs: w.rows) } ?? WeightPacker.panel(outputs: w.rows, tileRows: packer.tileRows)
        self.panelOutputs = panelOutputs
        let panels = (0..<(w.rows / panelOutputs)).map { ($0 * panelOutputs)..<(($0 + 1) * panelOutputs) }
        guard case .packed(let dtype) = form else {
            let plain = w.dtype == .f32 ? w.matrix : w.floats(in: Memory(capacity: Memory.paddedCount(w.rows * w.columns)).take(w.rows, w.columns))
            panelWeights = panels.map { .kernels(.plain(.transposed(plain.rows($0)))) }
            quantization = nil
            unsafe sums = nil
            memory = nil
            return
        }
        let kernels = tiles == nil ? try packer.kernels(dtype, outputs: panelOutputs, inputs: w.columns) : []
        let each = Memory.paddedCount(
            kernels.first.map { ($0.packedBytes + 3) / 4 } ?? TileWeights.count(dtype, outputs: panelOutputs, inputs: w.columns))
        let hasBytes = dtype == .u8, compresses = packer.compressesZeros && dtype != .f32
        let memory = Memory(capacity: (compresses ? 0 : panels.count * each) + (hasBytes ? 2 * Memory.paddedCount(w.rows) : 0))
        quantization = unsafe hasBytes ? Quantization(scales: memory.take(w.rows).base, zeroPoints: nil) : nil
        unsafe sums = hasBytes ? memory.takeIntegers(w.rows) : nil
        self.memory = memory
        let source = w.dtype == .bf16 && dtype == .bf16 ? w : QuantizedMatrix(packer.floats(w))
        panelWeights = []
        for rows in panels {
            let copy = compresses ? packer.panel(each) : memory.take(each)
            var weights: PanelWeights =
                tiles.map { .tiles(TileWeights($0, dtype, outputs: panelOutputs, inputs: w.columns, copy: copy)) } ?? .kernels(.packed(kernels, copy))
            let panel = source.rows(rows)
            if let quantization, let sums = unsafe sums {
                let bytes = unsafe packer.quantised(panel.matrix, quantization.scales + rows.lowerBound, sums: sums + rows.lowerBound)
                try unsafe weights.pack(bytes, .i8)
            } else {
                try unsafe weights.pack(panel.base, panel.dtype)
            }
            if compresses { weights = weights.held(CompressedCopy(copy, elementBytes: dtype.size), of: copy) }
            panelWeights.append(weights)
        }
        memory.seal()
    }

    /// The same packed matrix, not copied, for tiles of another height.
    package func retiled(with packer: WeightPacker) throws(TensorMathError) -> PackedMatrix {
        guard case .kernels(let weights) = panelWeights[0].whole else { return self }
        var other = self
        other.tileRows = packer.tileRows
        guard case .packed(let kernels, _) = weights else { return other }
        let others = try packer.kernels(kernels[0].dtype, outputs: panelOutputs, inputs: inputs, like: kernels[0])
        other.panelWeights = panelWeights.map { $0.read(by: others) }
        return other
    }

    /// How many tiles so many rows are cut into, and one of them.
    package func tiles(of rows: Int) -> Int { (rows + tileRows - 1) / tileRows }
    package func tile(_ index: Int, of rows: Int) -> Range<Int> { (index * tileRows)..<min(rows, (index + 1) * tileRows) }

    /// The product of one tile of rows with one panel's outputs; the accumulators lie in the workspace until its next product.
    package func multiply(_ x: QuantizedMatrix, panel: Int, in workspace: ProductWorkspace) -> Accumulators {
        let columns = (panel * panelOutputs)..<((panel + 1) * panelOutputs)
        let out = panelWeights[panel].multiply(x, outputs: panelOutputs, in: workspace)
        return unsafe Accumulators(
            rows: x.rows, columns: columns,
            values: ck_accumulators(
                values: out.base, stride: out.stride, row_scale: x.quantization?.scales, row_zero_point: x.quantization?.zeroPoints,
                column_scale: quantization.map { unsafe $0.scales + columns.lowerBound }, column_sum: sums.map { unsafe $0 + columns.lowerBound }))
    }

    /// Values of the accumulators of one tile and panel.
    fileprivate var accumulators: Int {
        if case .tiles(let weights) = panelWeights[0].whole { weights.sumCount(rows: tileRows) } else { tileRows * panelOutputs }
    }

    /// Values of the largest panel that is expanded.
    fileprivate var expanded: Int {
        panelWeights.reduce(0) { largest, panel in if case .compressed(_, let copy) = panel { max(largest, copy.count) } else { largest } }
    }
}

/// One panel by what multiplies it: the BLAS or oneDNN, from rows that lie row by row; or AMX, from rows in matrix tiles.
private enum PanelWeights {
    case kernels(GEMMWeights)
    case tiles(TileWeights)
    /// What multiplies it once its copy is whole again.
    indirect case compressed(PanelWeights, CompressedCopy)

    func pack(_ w: UnsafeRawPointer, _ type: DType) throws(TensorMathError) {
        switch self {
        case .kernels(.packed(let kernels, let copy)): try unsafe kernels[0].pack(w, type, into: copy.base)
        // It is read where it lies.
        case .kernels(.plain): break
        case .tiles(let weights): unsafe weights.pack(w, type)
        case .compressed: preconditionFailure("a panel is packed before it is compressed")
        }
    }

    /// What multiplies it, whether or not its copy is there.
    var whole: PanelWeights { if case .compressed(let weights, _) = self { weights } else { self } }

    func read(by kernels: [GEMMKernel]) -> PanelWeights {
        switch self {
        case .kernels(let weights): .kernels(weights.read(by: kernels))
        case .tiles: self
        case .compressed(let weights, let copy): .compressed(weights.read(by: kernels), copy)
        }
    }

    /// The same over another packed copy.
    private func reading(_ copy: Matrix) -> PanelWeights {
        switch self {
        case .kernels(let weights): .kernels(weights.reading(copy))
        case .tiles(let weights): .tiles(weights.reading(copy))
        case .compressed: self
        }
    }

    /// Held compressed, or where that saves nothing as a copy of its own of what the packer will use again.
    func held(_ compressed: CompressedCopy?, of copy: Matrix) -> PanelWeights {
        if let compressed { return .compressed(reading(compressed.placeholder), compressed) }
        let memory = Memory(capacity: Memory.paddedCount(copy.count)), own = memory.take(copy.count)
        own.copy(from: copy)
        memory.seal()
        return reading(own)
    }

    func multiply(_ x: QuantizedMatrix, outputs: Int, in workspace: ProductWorkspace) -> Matrix {
        switch self {
        case .kernels(let weights):
            let out = workspace.accumulators.values(0..<(x.rows * outputs)).reshaped(x.rows, outputs)
            weights.multiply(x, into: out, scratch: workspace.scratch)
            return out
        case .tiles(let weights): return weights.multiply(x, into: workspace.accumulators)
        case .compressed(let weights, let copy):
            return weights.reading(copy.expanded(into: workspace.panel)).multiply(x, outputs: outputs, in: workspace)
        }
    }
}

/// Packs matrices for tiles of certain heights; one kernel per shape and height serves them all.
package final class WeightPacker {
    /// Rows of the tiles, the usual ones first.
    private let heights: [Int]
    private let matrixTiles: MatrixTiles?
    let compressesZeros: Bool
    private var made: [Shape: [GEMMKernel]] = [:]
    private var madeGradients: [Shape: [GEMMKernel]] = [:]
    private var bytes: [Int8] = []
    /// What bfloat16 matrices are converted in, one after the other: fresh pages cost more than the conversion.
    private var converted: Memory?
    /// What panels are packed in before they are compressed.
    private var packed: Memory?

    private struct Shape: Hashable {
        let dtype: DType
        let outputs, inputs: Int
    }

    /// - Parameters:
    ///   - matrixTiles: what multiplies `PackedMatrix` where its rows can lie in matrix tiles; nil is oneDNN.
    ///   - compressesZeros: whether a `PackedMatrix` of bytes or bfloat16 holds no zeros: less memory, and an expansion for each product.
    package init(heights: [Int], matrixTiles: MatrixTiles? = nil, compressesZeros: Bool = false) {
        self.heights = heights
        self.matrixTiles = matrixTiles
        self.compressesZeros = compressesZeros
    }

    fileprivate func tiles(for dtype: DType) -> MatrixTiles? { matrixTiles.flatMap { $0.multiplies(dtype) ? $0 : nil } }

    var tileRows: Int { heights[0] }

    /// Outputs of a panel: an even share of all whose accumulators with one tile stay within a core's cache.
    static func panel(outputs: Int, tileRows: Int) -> Int {
        let largest = max(16, 640 * 256 / tileRows)
        let parts = stride(from: 2, through: outputs, by: 2).first { outputs.isMultiple(of: $0) && outputs / $0 <= largest }
        return outputs / (parts ?? 1)
    }

    /// One kernel per height, all of which read what the first packs.
    /// - Parameter like: a kernel whose packed matrices are to be read instead.
    func kernels(_ dtype: DType, outputs: Int, inputs: Int, like: GEMMKernel? = nil) throws(TensorMathError) -> [GEMMKernel] {
        let shape = Shape(dtype: dtype, outputs: outputs, inputs: inputs)
        if let found = made[shape] { return found }
        var kernels: [GEMMKernel] = []
        for height in heights {
            kernels.append(try GEMMKernel(dtype, rows: height, outputs: outputs, inputs: inputs, like: like ?? kernels.first))
        }
        made[shape] = kernels
        return kernels
    }

    /// One kernel of a matrix's gradient per number of rows.
    func gradientKernels(_ dtype: DType, rows: [Int], outputs: Int, inputs: Int) throws(TensorMathError) -> [GEMMKernel] {
        let shape = Shape(dtype: dtype, outputs: outputs, inputs: inputs)
        if let found = madeGradients[shape] { return found }
        var kernels: [GEMMKernel] = []
        for rows in rows { kernels.append(try GEMMKernel(gradientOf: dtype, rows: rows, outputs: outputs, inputs: inputs)) }
        madeGradients[shape] = kernels
        return kernels
    }

    /// Memory of a panel, all zero, valid until the next call.
    func panel(_ count: Int) -> Matrix {
        let memory = packed.flatMap { $0.capacity < count ? nil : $0 } ?? Memory(capacity: count)
        packed = memory
        let panel = Memory(sharing: memory).take(count)
        panel.fill(0)
        return panel
    }

    /// The values of w, valid until the next call.
    func floats(_ w: QuantizedMatrix) -> Matrix {
        guard w.dtype != .f32 else { return w.matrix }
        let count = Memory.paddedCount(w.rows * w.columns)
        let memory = converted.flatMap { $0.capacity < count ? nil : $0 } ?? Memory(capacity: count)
        converted = memory
        return w.floats(in: Memory(sharing: memory).take(w.rows, w.columns))
    }

    /// The rows of w as bytes, valid until the next call.
    func quantised(_ w: Matrix, _ scales: UnsafeMutablePointer<Float>, sums: UnsafeMutablePointer<Int32>) -> [Int8] {
        bytes = [Int8](repeating: 0, count: w.count)
        unsafe ck_quantise_weights(&bytes, scales, sums, w.base, w.rows, w.columns)
        return bytes
    }

    /// Scratch bytes of the largest kernel made.
    package var scratchBytes: Int { [made, madeGradients].flatMap { $0.values.joined() }.map(\.scratchBytes).max() ?? 0 }

    /// What products with some matrices that it packed ask of a workspace.
    package func need(_ matrices: [PackedMatrix]) -> ProductWorkspace.Need {
        ProductWorkspace.Need(
            accumulators: matrices.map(\.accumulators).max() ?? 0, panel: matrices.map(\.expanded).max() ?? 0, scratchBytes: scratchBytes,
            rows: matrices.map(\.tileRows).max() ?? 0)
    }
}
