import CKernels

/// Rows of values between two layers, kept as the next product reads them: a view into memory that it keeps alive.
// @unchecked: as for `Matrix`, threads are given disjoint rows or columns.
@safe package struct QuantizedMatrix: @unchecked Sendable {
    package enum Form: Sendable, Hashable {
        case f32
        case bf16
        /// value = scale (byte - zero point), with one of each per row.
        case u8

        var bytes: Int {
            switch self {
            case .f32: 4
            case .bf16: 2
            case .u8: 1
            }
        }
    }

    package let form: Form
    package let rows: Int
    package let columns: Int
    package let stride: Int
    let base: UnsafeMutableRawPointer
    /// Per row, of bytes alone.
    let rowScale: UnsafeMutablePointer<Float>?
    let rowZeroPoint: UnsafeMutablePointer<Int32>?
    private let owner: AnyObject

    init(
        _ form: Form, rows: Int, columns: Int, stride: Int, base: UnsafeMutableRawPointer, rowScale: UnsafeMutablePointer<Float>? = nil,
        rowZeroPoint: UnsafeMutablePointer<Int32>? = nil, owner: AnyObject
    ) {
        self.form = form
        self.rows = rows
        self.columns = columns
        self.stride = stride
        unsafe self.base = base
        unsafe self.rowScale = rowScale
        unsafe self.rowZeroPoint = rowZeroPoint
        self.owner = owner
    }

    package func rows(_ range: Range<Int>) -> QuantizedMatrix {
        precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of \(rows)")
        let first = range.lowerBound
        return unsafe QuantizedMatrix(
            form, rows: range.count, columns: columns, stride: stride, base: base + first * stride * form.bytes,
            rowScale: rowScale.map { unsafe $0 + first }, rowZeroPoint: rowZeroPoint.map { unsafe $0 + first }, owner: owner)
    }

    package func columns(_ range: Range<Int>) -> QuantizedMatrix {
        precondition(range.lowerBound >= 0 && range.upperBound <= columns, "columns \(range) of \(columns)")
        return unsafe QuantizedMatrix(
            form, rows: rows, columns: range.count, stride: stride, base: base + range.lowerBound * form.bytes, rowScale: rowScale,
            rowZeroPoint: rowZeroPoint, owner: owner)
    }

    /// The values where they are float32.
    package var matrix: Matrix {
        precondition(form == .f32, "values of \(form) are no matrix")
        return unsafe Matrix(
            base: base.assumingMemoryBound(to: Float.self), rows: rows, columns: columns, stride: stride, owner: owner)
    }

    var bfloat16: UnsafeMutablePointer<UInt16> { unsafe base.assumingMemoryBound(to: UInt16.self) }
    var bytes: UnsafeMutablePointer<UInt8> { unsafe base.assumingMemoryBound(to: UInt8.self) }
    var floats: UnsafeMutablePointer<Float> { unsafe base.assumingMemoryBound(to: Float.self) }
}

extension QuantizedMatrix {
    /// The values as float32: themselves where they are that, else converted into `scratch`, which has room for them.
    package func floats(in scratch: Matrix) -> Matrix {
        guard form != .f32 else { return matrix }
        let out = scratch.values(0..<(rows * columns)).reshaped(rows, columns)
        for row in 0..<rows {
            let (target, first) = unsafe (out.base + row * columns, row * stride)
            switch form {
            case .f32: break
            case .bf16: unsafe ck_bf16_to_f32(target, bfloat16 + first, columns)
            case .u8:
                guard let rowScale = unsafe rowScale, let rowZeroPoint = unsafe rowZeroPoint else { preconditionFailure("bytes without scales") }
                for column in 0..<columns { unsafe target[column] = rowScale[row] * Float(Int32(bytes[first + column]) - rowZeroPoint[row]) }
            }
        }
        return out
    }
}

extension Memory {
    /// The next `rows` x `columns` values of a form, with the rows' scales and zero points where it has them.
    package func take(_ rows: Int, _ columns: Int, _ form: QuantizedMatrix.Form) -> QuantizedMatrix {
        let values = take(Memory.floats(rows, columns, form))
        guard form == .u8 else {
            return unsafe QuantizedMatrix(
                form, rows: rows, columns: columns, stride: columns, base: UnsafeMutableRawPointer(values.base), owner: self)
        }
        let scales = take(rows), zeroPoints = take(rows)
        return unsafe QuantizedMatrix(
            form, rows: rows, columns: columns, stride: columns, base: UnsafeMutableRawPointer(values.base), rowScale: scales.base,
            rowZeroPoint: UnsafeMutableRawPointer(zeroPoints.base).assumingMemoryBound(to: Int32.self), owner: self)
    }

    /// What `take` of a quantized matrix takes from the plan.
    package static func quantizedCount(_ rows: Int, _ columns: Int, _ form: QuantizedMatrix.Form) -> Int {
        paddedCount(floats(rows, columns, form)) + (form == .u8 ? 2 * paddedCount(rows) : 0)
    }

    private static func floats(_ rows: Int, _ columns: Int, _ form: QuantizedMatrix.Form) -> Int { (rows * columns * form.bytes + 3) / 4 }
}

/// out = layer norm of x's rows * scale + shift, in the form of `out`.
/// - Parameter line: scratch of one row.
package func normModulate(_ x: Matrix, scale: Matrix, shift: Matrix, epsilon: Float, line: Matrix, into out: QuantizedMatrix) {
    precondition(
        x.isContiguous && out.stride == out.columns && x.rows == out.rows && x.columns == out.columns && scale.count == x.columns
            && shift.count == x.columns && line.count >= x.columns, "\(x.rows) x \(x.columns) into \(out.rows) x \(out.columns)")
    switch out.form {
    case .f32:
        unsafe ck_norm_modulate(out.floats, x.base, scale.base, shift.base, nil, nil, x.rows, x.columns, epsilon)
    case .bf16:
        unsafe ck_norm_modulate_bf16(out.bfloat16, x.base, scale.base, shift.base, x.rows, x.columns, epsilon)
    case .u8:
        unsafe ck_norm_modulate_u8(
            out.bytes, out.rowScale, out.rowZeroPoint, x.base, scale.base, shift.base, x.rows, x.columns, epsilon, line.base)
    }
}

/// bfloat16 rows to bytes, each row over its own range.
package func quantise(_ x: QuantizedMatrix, line: Matrix, into out: QuantizedMatrix) {
    precondition(
        x.form == .bf16 && out.form == .u8 && x.stride == x.columns && out.stride == out.columns && x.rows == out.rows
            && x.columns == out.columns && line.count >= x.columns, "\(x.form) into \(out.form)")
    unsafe ck_quantise_rows(out.bytes, out.rowScale, out.rowZeroPoint, x.bfloat16, x.rows, x.columns, line.base)
}

/// Attention of one head on bfloat16 values: out = softmax(scale q k^T) v.
/// - Parameters:
///   - q, k, v: (T, hd).
///   - scratch: `attentionScratch` values.
package func attention(q: QuantizedMatrix, k: QuantizedMatrix, v: QuantizedMatrix, scale: Float, scratch: Matrix, into out: QuantizedMatrix) {
    precondition([q, k, v, out].allSatisfy { $0.form == .bf16 && $0.rows == q.rows && $0.columns == q.columns })
    precondition(q.stride == k.stride && q.stride == v.stride && scratch.count >= attentionScratch(tokens: q.rows, head: q.columns))
    unsafe ck_attention_bf16(
        out.bfloat16, out.stride, q.bfloat16, k.bfloat16, v.bfloat16, q.stride, q.rows, q.columns, scale, scratch.base)
}

/// Values of scratch that one head takes.
package func attentionScratch(tokens: Int, head: Int) -> Int { Int(ck_attention_scratch(tokens, head) + 3) / 4 }

/// The instruction set of the kernels, for logs and benchmarks.
package var kernelDescription: String {
    switch ck_current_level() {
    case CK_AVX512_BF16: "AVX-512 with bfloat16"
    case CK_AVX512: "AVX-512"
    case CK_AVX2: "AVX2"
    default: "scalar kernels"
    }
}
