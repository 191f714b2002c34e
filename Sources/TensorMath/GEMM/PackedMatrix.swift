import CKernels

/// A frozen matrix [outputs, inputs] laid out once for products with tiles of rows, in panels of outputs that fit a cache.
///
/// A tile always goes through the same products of the same shapes, so a row's bytes depend on nothing but the row (law 5). The
/// pages are read-only (law 7), and hold no value of any adapter (law 1).
// @unchecked: the addresses never change and the pages behind them are sealed.
@safe package struct PackedMatrix: @unchecked Sendable {
    package let outputs, inputs: Int
    package let panelOutputs: Int
    private var panelWeights: [GEMMWeights]
    /// Of bytes alone: per output, symmetric.
    private let quantization: Quantization?
    /// Of bytes alone: their sum per output, which a product needs for the zero points of the other factor.
    private let sums: UnsafeMutablePointer<Int32>?

    package var panels: Int { panelWeights.count }

    /// Bytes of the packed copy.
    package var bytes: Int {
        panelWeights.reduce(0) { sum, panel in if case .packed(_, let copy) = panel { sum + copy.count * 4 } else { sum } }
    }

    /// Lays `w` [outputs, inputs] out in a form.
    package init(_ w: QuantizedMatrix, _ form: WeightForm, with packer: WeightPacker) throws(TensorMathError) {
        outputs = w.rows
        inputs = w.columns
        let panelOutputs = WeightPacker.panel(outputs: w.rows, tileRows: packer.tileRows)
        self.panelOutputs = panelOutputs
        let panels = (0..<(w.rows / panelOutputs)).map { ($0 * panelOutputs)..<(($0 + 1) * panelOutputs) }
        guard case .packed(let dtype) = form else {
            let plain = w.dtype == .f32 ? w.matrix : w.floats(in: Memory(capacity: Memory.paddedCount(w.rows * w.columns)).take(w.rows, w.columns))
            panelWeights = panels.map { .plain(.transposed(plain.rows($0))) }
            quantization = nil
            unsafe sums = nil
            return
        }
        let kernels = try packer.kernels(dtype, outputs: panelOutputs, inputs: w.columns)
        let each = Memory.paddedCount((kernels[0].packedBytes + 3) / 4)
        let hasBytes = dtype == .u8
        let memory = Memory(capacity: panels.count * each + (hasBytes ? 2 * Memory.paddedCount(w.rows) : 0))
        quantization = unsafe hasBytes ? Quantization(scales: memory.take(w.rows).base, zeroPoints: nil) : nil
        unsafe sums = hasBytes ? memory.takeIntegers(w.rows) : nil
        let copies = panels.map { _ in memory.take(each) }
        let source = w.dtype == .bf16 && dtype == .bf16 ? w : QuantizedMatrix(packer.floats(w))
        for (rows, copy) in zip(panels, copies) {
            let panel = source.rows(rows)
            if let quantization, let sums = unsafe sums {
                let bytes = unsafe packer.quantised(panel.matrix, quantization.scales + rows.lowerBound, sums: sums + rows.lowerBound)
                try unsafe kernels[0].pack(bytes, .i8, into: copy.base)
            } else {
                try unsafe kernels[0].pack(panel.base, panel.dtype, into: copy.base)
            }
        }
        memory.seal()
        panelWeights = copies.map { .packed(kernels, $0) }
    }

    /// The same packed matrix, not copied, for tiles of another height.
    package func retiled(with packer: WeightPacker) throws(TensorMathError) -> PackedMatrix {
        guard case .packed(let kernels, _) = panelWeights[0] else { return self }
        var other = self
        let others = try packer.kernels(kernels[0].dtype, outputs: panelOutputs, inputs: inputs, like: kernels[0])
        other.panelWeights = panelWeights.map { $0.read(by: others) }
        return other
    }

    /// The product of one tile of rows with one panel's outputs; the accumulators lie in the workspace until its next product.
    package func multiply(_ x: QuantizedMatrix, panel: Int, in workspace: ProductWorkspace) -> Accumulators {
        let columns = (panel * panelOutputs)..<((panel + 1) * panelOutputs)
        let out = workspace.accumulators.values(0..<(x.rows * panelOutputs)).reshaped(x.rows, panelOutputs)
        panelWeights[panel].multiply(x, into: out, scratch: workspace.scratch)
        return unsafe Accumulators(
            rows: x.rows, columns: columns,
            values: ck_accumulators(
                values: out.base, stride: panelOutputs, row_scale: x.quantization?.scales, row_zero_point: x.quantization?.zeroPoints,
                column_scale: quantization.map { unsafe $0.scales + columns.lowerBound }, column_sum: sums.map { unsafe $0 + columns.lowerBound }))
    }
}

/// Packs matrices for tiles of certain heights; one kernel per shape and height serves them all.
package final class WeightPacker {
    /// Rows of the tiles, the usual ones first.
    private let heights: [Int]
    private var made: [Shape: [GEMMKernel]] = [:]
    private var madeGradients: [Shape: [GEMMKernel]] = [:]
    private var bytes: [Int8] = []
    /// What bfloat16 matrices are converted in, one after the other: fresh pages cost more than the conversion.
    private var converted: Memory?

    private struct Shape: Hashable {
        let dtype: DType
        let outputs, inputs: Int
    }

    package init(heights: [Int]) { self.heights = heights }

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
        ProductWorkspace.Need(accumulators: matrices.map { $0.panelOutputs * tileRows }.max() ?? 0, scratchBytes: scratchBytes)
    }
}
