import CKernels
import COneDNN

/// A frozen matrix [outputs, inputs] laid out once for products with tiles of rows, in panels of outputs that fit a cache.
///
/// A tile always goes through the same products of the same shapes, so a row's bytes depend on nothing but the row (law 5). The
/// pages are read-only (law 7), and hold no value of any adapter (law 1).
// @unchecked: the addresses never change and the pages behind them are sealed.
@safe package struct PackedMatrix: @unchecked Sendable {
    package let outputs, inputs: Int
    /// The form of the rows that it multiplies.
    package let form: QuantizedMatrix.Form
    package let panelOutputs: Int
    private var storage: Storage
    /// Of bytes alone.
    private let quantization: Quantization?

    /// Per output: the scale of its bytes, and the sum of them.
    @safe private struct Quantization {
        let scales: UnsafeMutablePointer<Float>
        let sums: UnsafeMutablePointer<Int32>

        init(outputs: Int, in memory: Memory) {
            unsafe scales = memory.take(outputs).base
            unsafe sums = UnsafeMutableRawPointer(memory.take(outputs).base).assumingMemoryBound(to: Int32.self)
        }
    }

    private enum Storage {
        /// One stretch of memory per panel, in oneDNN's order.
        case packed(GEMMKernel, panels: [Matrix])
        /// As it lies, multiplied by the BLAS, which packs at each call.
        case plain(Matrix)
    }

    /// Whether matrices for rows of a form are copied when packed, or read where they lie.
    package static func copies(_ form: QuantizedMatrix.Form) -> Bool { form != .f32 || hasPackedFloats }

    package var panels: Int { outputs / panelOutputs }

    /// Bytes of the packed copy.
    package var bytes: Int {
        if case .packed(_, let panels) = storage { panels.reduce(0) { $0 + $1.count * 4 } } else { 0 }
    }

    /// Packs `w` [outputs, inputs] for rows of the given form.
    package init(_ w: StoredMatrix, form: QuantizedMatrix.Form, with packer: WeightPacker) throws(TensorMathError) {
        outputs = w.rows
        inputs = w.columns
        self.form = form
        panelOutputs = WeightPacker.panel(outputs: w.rows, tileRows: packer.tileRows)
        guard PackedMatrix.copies(form) else {
            let plain = w.floats
            storage = .plain(plain)
            quantization = nil
            return
        }
        let product = try packer.product(form, outputs: panelOutputs, inputs: w.columns)
        let panelCount = w.rows / panelOutputs
        let each = Memory.paddedCount((product.packedBytes + 3) / 4)
        let perOutput = form == .u8 ? w.rows : 0
        let memory = Memory(capacity: panelCount * each + 2 * Memory.paddedCount(perOutput))
        quantization = form == .u8 ? Quantization(outputs: w.rows, in: memory) : nil
        let panels = (0..<panelCount).map { _ in memory.take(each) }
        let floats: Matrix? = if case .bfloat16 = w, form == .bf16 { nil } else { packer.floats(w) }
        for (panel, packed) in panels.enumerated() {
            let rows = (panel * panelOutputs)..<((panel + 1) * panelOutputs)
            if let quantization, let floats {
                let bytes = unsafe packer.quantised(
                    floats.rows(rows), scales: quantization.scales + rows.lowerBound, sums: quantization.sums + rows.lowerBound)
                try unsafe product.pack(bytes, OD_S8, into: packed.base)
            } else if let floats {
                try unsafe product.pack(floats.rows(rows).base, OD_F32, into: packed.base)
            } else if case .bfloat16(let stored) = w {
                try unsafe product.pack(stored.rows(rows).base, OD_BF16, into: packed.base)
            }
        }
        memory.seal()
        storage = .packed(product, panels: panels)
    }

    /// The same packed matrix, not copied, for tiles of another height.
    package func retiled(with packer: WeightPacker) throws(TensorMathError) -> PackedMatrix {
        guard case .packed(let product, let panels) = storage else { return self }
        var other = self
        other.storage = .packed(try packer.product(form, outputs: panelOutputs, inputs: inputs, like: product), panels: panels)
        return other
    }

    /// The product of one tile of rows with one panel's outputs; the accumulators lie in the workspace until its next product.
    package func multiply(_ x: QuantizedMatrix, panel: Int, in workspace: ProductWorkspace) -> Accumulators {
        precondition(x.form == form && x.columns == inputs && x.stride == inputs, "\(x.columns) values of \(x.form) for \(inputs) of \(form)")
        precondition(x.rows * panelOutputs <= workspace.accumulators.count)
        let columns = (panel * panelOutputs)..<((panel + 1) * panelOutputs)
        switch storage {
        case .packed(let product, let panels):
            precondition(x.rows == product.rows, "a tile of \(x.rows) rows for \(product.rows)")
            unsafe product.run(x.base, panels[panel].base, workspace.accumulators.base, scratch: workspace.scratch.base)
        case .plain(let w):
            TensorMath.multiply(
                .plain(x.matrix), .transposed(w.rows(columns)),
                into: workspace.accumulators.values(0..<(x.rows * panelOutputs)).reshaped(x.rows, panelOutputs))
        }
        return unsafe Accumulators(
            rows: x.rows, columns: columns,
            values: ck_accumulators(
                values: workspace.accumulators.base, stride: panelOutputs, row_scale: x.rowScale, row_zero_point: x.rowZeroPoint,
                column_scale: quantization.map { unsafe $0.scales + columns.lowerBound }, column_sum: quantization.map { unsafe $0.sums + columns.lowerBound }))
    }
}

/// Packs matrices for tiles of one height, and makes one product per shape of panel.
package final class WeightPacker {
    let tileRows: Int
    private var products: [Shape: GEMMKernel] = [:]
    private var bytes: [Int8] = []
    /// What bfloat16 matrices are converted in, one after the other: fresh pages cost more than the conversion.
    private var converted = Memory(capacity: 0)

    private struct Shape: Hashable {
        let form: QuantizedMatrix.Form
        let outputs, inputs: Int
    }

    package init(tileRows: Int) { self.tileRows = tileRows }

    /// Outputs of a panel: an even share of all whose accumulators with one tile stay within a core's cache.
    static func panel(outputs: Int, tileRows: Int) -> Int {
        let largest = max(16, 640 * 256 / tileRows)
        let parts = stride(from: 2, through: outputs, by: 2).first { outputs.isMultiple(of: $0) && outputs / $0 <= largest }
        return outputs / (parts ?? 1)
    }

    /// - Parameter like: a product whose packed matrices are to be read too.
    func product(_ form: QuantizedMatrix.Form, outputs: Int, inputs: Int, like: GEMMKernel? = nil) throws(TensorMathError) -> GEMMKernel {
        let shape = Shape(form: form, outputs: outputs, inputs: inputs)
        if let found = products[shape] { return found }
        let made = try GEMMKernel(form, rows: tileRows, outputs: outputs, inputs: inputs, like: like)
        products[shape] = made
        return made
    }

    /// The values of w, valid until the next call.
    func floats(_ w: StoredMatrix) -> Matrix {
        guard case .bfloat16(let stored) = w else { return w.floats }
        let count = Memory.paddedCount(stored.rows * stored.columns)
        if converted.capacity < count { converted = Memory(capacity: count) }
        return stored.floats(in: Memory(sharing: converted).take(stored.rows, stored.columns))
    }

    /// The rows of w as bytes, valid until the next call.
    func quantised(_ w: Matrix, scales: UnsafeMutablePointer<Float>, sums: UnsafeMutablePointer<Int32>) -> [Int8] {
        bytes = [Int8](repeating: 0, count: w.count)
        unsafe ck_quantise_weights(&bytes, scales, sums, w.base, w.rows, w.columns)
        return bytes
    }

    /// Scratch bytes of the largest product made.
    package func workspace(accumulatorsFor matrices: [PackedMatrix]) -> (accumulators: Int, scratch: Int) {
        (matrices.map { $0.panelOutputs * tileRows }.max() ?? 0, products.values.map(\.scratchBytes).max() ?? 0)
    }
}
