import CKernels

/// A matrix of any element type that is computed with: rows between two layers as the next product reads them, or a frozen matrix as
/// its file holds it. A view into memory that it keeps alive.
// @unchecked: as for `Matrix`, threads are given disjoint rows or columns.
@safe package struct QuantizedMatrix: @unchecked Sendable {
    /// `f32`, `bf16` or `u8`.
    package let dtype: DType
    package let rows: Int
    package let columns: Int
    package let stride: Int
    let base: UnsafeMutableRawPointer
    /// Of bytes alone.
    let quantization: Quantization?
    private let owner: AnyObject

    fileprivate init(
        _ dtype: DType, rows: Int, columns: Int, stride: Int, base: UnsafeMutableRawPointer, _ quantization: Quantization? = nil, owner: AnyObject
    ) {
        self.dtype = dtype
        self.rows = rows
        self.columns = columns
        self.stride = stride
        unsafe self.base = base
        self.quantization = quantization
        self.owner = owner
    }

    /// A matrix in float32.
    package init(_ matrix: Matrix) {
        unsafe self.init(
            .f32, rows: matrix.rows, columns: matrix.columns, stride: matrix.stride, base: UnsafeMutableRawPointer(matrix.base), owner: matrix.owner)
    }

    /// bfloat16 values without gaps in the memory of another matrix.
    init(bfloat16 matrix: Matrix, rows: Int, columns: Int) {
        precondition(matrix.isContiguous && rows * columns <= 2 * matrix.count, "\(rows) x \(columns) in \(2 * matrix.count) values")
        unsafe self.init(.bf16, rows: rows, columns: columns, stride: columns, base: UnsafeMutableRawPointer(matrix.base), owner: matrix.owner)
    }

    /// A read-only view of bfloat16 values without gaps that lie elsewhere (a mapped file).
    @unsafe package init(readOnlyBFloat16 address: UnsafeRawPointer, rows: Int, columns: Int, owner: AnyObject) {
        let base = unsafe UnsafeMutableRawPointer(mutating: address)
        unsafe self.init(.bf16, rows: rows, columns: columns, stride: columns, base: base, owner: owner)
    }

    package func rows(_ range: Range<Int>) -> QuantizedMatrix {
        precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of \(rows)")
        return unsafe QuantizedMatrix(
            dtype, rows: range.count, columns: columns, stride: stride, base: base + range.lowerBound * stride * dtype.size,
            quantization?.rows(from: range.lowerBound), owner: owner)
    }

    package func columns(_ range: Range<Int>) -> QuantizedMatrix {
        precondition(range.lowerBound >= 0 && range.upperBound <= columns, "columns \(range) of \(columns)")
        return unsafe QuantizedMatrix(
            dtype, rows: rows, columns: range.count, stride: stride, base: base + range.lowerBound * dtype.size, quantization, owner: owner)
    }

    /// The values where they are float32.
    package var matrix: Matrix {
        precondition(dtype == .f32, "values of \(dtype) are no matrix")
        return unsafe Matrix(base: floats, rows: rows, columns: columns, stride: stride, owner: owner)
    }

    var bfloat16: UnsafeMutablePointer<UInt16> { unsafe base.assumingMemoryBound(to: UInt16.self) }
    var bytes: UnsafeMutablePointer<UInt8> { unsafe base.assumingMemoryBound(to: UInt8.self) }
    var floats: UnsafeMutablePointer<Float> { unsafe base.assumingMemoryBound(to: Float.self) }
}

/// How the bytes of a matrix stand for values, row by row: value = scale (byte - zero point).
@safe struct Quantization {
    let scales: UnsafeMutablePointer<Float>
    /// nil where it is symmetric: they are 0.
    let zeroPoints: UnsafeMutablePointer<Int32>?

    func rows(from first: Int) -> Quantization { unsafe Quantization(scales: scales + first, zeroPoints: zeroPoints.map { unsafe $0 + first }) }

    func value(_ byte: UInt8, row: Int) -> Float { unsafe scales[row] * Float(Int32(byte) - (zeroPoints?[row] ?? 0)) }
}

extension QuantizedMatrix {
    /// The values as float32: themselves where they are that, else converted into `scratch`, which has room for them.
    package func floats(in scratch: Matrix?) -> Matrix {
        guard dtype != .f32 else { return matrix }
        guard let scratch else { preconditionFailure("no memory to convert \(dtype) in") }
        let out = scratch.values(0..<(rows * columns)).reshaped(rows, columns)
        for row in 0..<rows {
            let (target, first) = unsafe (out.base + row * columns, row * stride)
            if let quantization {
                for column in 0..<columns { unsafe target[column] = quantization.value(bytes[first + column], row: row) }
            } else {
                unsafe ck_bf16_to_f32(target, bfloat16 + first, columns)
            }
        }
        return out
    }
}

extension Memory {
    /// The next `rows` x `columns` values of an element type, with the rows' scales and zero points where it has them.
    package func take(_ rows: Int, _ columns: Int, _ dtype: DType) -> QuantizedMatrix {
        let values = take((rows * columns * dtype.size + 3) / 4)
        let quantization = unsafe dtype == .u8 ? Quantization(scales: take(rows).base, zeroPoints: takeIntegers(rows)) : nil
        return unsafe QuantizedMatrix(
            dtype, rows: rows, columns: columns, stride: columns, base: UnsafeMutableRawPointer(values.base), quantization, owner: self)
    }

    func takeIntegers(_ count: Int) -> UnsafeMutablePointer<Int32> {
        unsafe UnsafeMutableRawPointer(take(count).base).assumingMemoryBound(to: Int32.self)
    }
}

/// out = layer norm of x's rows * scale + shift, in the element type of `out`.
/// - Parameter line: scratch of one row.
package func normModulate(_ x: Matrix, scale: Matrix, shift: Matrix, epsilon: Float, line: Matrix, into out: QuantizedMatrix) {
    precondition(
        x.isContiguous && out.stride == out.columns && x.rows == out.rows && x.columns == out.columns && scale.count == x.columns
            && shift.count == x.columns && line.count >= x.columns, "\(x.rows) x \(x.columns) into \(out.rows) x \(out.columns)")
    switch out.dtype {
    case .f32:
        unsafe ck_norm_modulate(out.floats, x.base, scale.base, shift.base, nil, nil, x.rows, x.columns, epsilon)
    case .bf16:
        unsafe ck_norm_modulate_bf16(out.bfloat16, x.base, scale.base, shift.base, x.rows, x.columns, epsilon)
    case .u8:
        unsafe ck_norm_modulate_u8(
            out.bytes, out.quantization?.scales, out.quantization?.zeroPoints, x.base, scale.base, shift.base, x.rows, x.columns, epsilon, line.base)
    default: noKernel(for: out.dtype)
    }
}

/// bfloat16 rows to bytes, each row over its own range.
package func quantise(_ x: QuantizedMatrix, line: Matrix, into out: QuantizedMatrix) {
    precondition(
        x.dtype == .bf16 && out.dtype == .u8 && x.stride == x.columns && out.stride == out.columns && x.rows == out.rows
            && x.columns == out.columns && line.count >= x.columns, "\(x.dtype) into \(out.dtype)")
    unsafe ck_quantise_rows(
        out.bytes, out.quantization?.scales, out.quantization?.zeroPoints, x.bfloat16, x.rows, x.columns, line.base)
}

/// Attention of one head on bfloat16 values: out = softmax(scale q k^T) v.
/// - Parameters:
///   - q, k, v: (T, hd).
///   - scratch: `attentionScratch` values.
package func attention(q: QuantizedMatrix, k: QuantizedMatrix, v: QuantizedMatrix, scale: Float, scratch: Matrix, into out: QuantizedMatrix) {
    precondition([q, k, v, out].allSatisfy { $0.dtype == .bf16 && $0.rows == q.rows && $0.columns == q.columns })
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
