import CKernels

/// A matrix of any element type that is computed with: rows between two layers as the next product reads them, or a frozen matrix as
/// its file holds it. A view into memory that it keeps alive.
///
/// Values lie row by row, or where `isTiled` in matrix tiles of 16 rows x 64 bytes (`CKernelsTiles.h`), whose padding is zero.
// @unchecked: as for `Matrix`, threads are given disjoint rows or columns.
@safe package struct QuantizedMatrix: @unchecked Sendable {
    /// `f32`, `bf16` or `u8`.
    package let dtype: DType
    package let rows: Int
    package let columns: Int
    /// Values from one row to the next; in tiles those of a row with its padding, so that 16 rows take 16 strides either way.
    package let stride: Int
    package let isTiled: Bool
    let base: UnsafeMutableRawPointer
    /// Of bytes alone.
    let quantization: Quantization?
    private let owner: AnyObject

    fileprivate init(
        _ dtype: DType, rows: Int, columns: Int, stride: Int, isTiled: Bool = false, base: UnsafeMutableRawPointer, _ quantization: Quantization? = nil,
        owner: AnyObject
    ) {
        self.dtype = dtype
        self.rows = rows
        self.columns = columns
        self.stride = stride
        self.isTiled = isTiled
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

    /// In tiles the first row is the first of a tile.
    package func rows(_ range: Range<Int>) -> QuantizedMatrix {
        precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of \(rows)")
        precondition(!isTiled || range.lowerBound.isMultiple(of: MatrixTiles.rows), "rows \(range) begin inside a tile")
        return unsafe QuantizedMatrix(
            dtype, rows: range.count, columns: columns, stride: stride, isTiled: isTiled, base: base + range.lowerBound * stride * dtype.size,
            quantization?.rows(from: range.lowerBound), owner: owner)
    }

    package func columns(_ range: Range<Int>) -> QuantizedMatrix {
        precondition(range.lowerBound >= 0 && range.upperBound <= columns, "columns \(range) of \(columns)")
        precondition(!isTiled || range.lowerBound.isMultiple(of: MatrixTiles.columns(dtype)), "columns \(range) begin inside a tile")
        let before = range.lowerBound * dtype.size * (isTiled ? MatrixTiles.rows : 1)
        return unsafe QuantizedMatrix(
            dtype, rows: rows, columns: range.count, stride: stride, isTiled: isTiled, base: base + before, quantization, owner: owner)
    }

    /// The values where they are float32.
    package var matrix: Matrix {
        precondition(dtype == .f32, "values of \(dtype) are no matrix")
        return unsafe Matrix(base: floats, rows: rows, columns: columns, stride: stride, owner: owner)
    }

    /// Of values that lie row by row.
    var bfloat16: UnsafeMutablePointer<UInt16> { unsafe rowByRow.assumingMemoryBound(to: UInt16.self) }
    var bytes: UnsafeMutablePointer<UInt8> { unsafe rowByRow.assumingMemoryBound(to: UInt8.self) }
    var floats: UnsafeMutablePointer<Float> { unsafe rowByRow.assumingMemoryBound(to: Float.self) }

    private var rowByRow: UnsafeMutableRawPointer {
        precondition(!isTiled, "the values lie in tiles")
        return unsafe base
    }

    /// The parts that lie row by row, all or each tile: where it begins, and the values from one of its rows to the next.
    func forEachPart(_ body: (_ rows: Range<Int>, _ columns: Range<Int>, _ base: UnsafeMutableRawPointer, _ stride: Int) -> Void) {
        guard isTiled else { return unsafe body(0..<rows, 0..<columns, base, stride) }
        let (height, width) = (MatrixTiles.rows, MatrixTiles.columns(dtype))
        for row in Swift.stride(from: 0, to: rows, by: height) {
            for column in Swift.stride(from: 0, to: columns, by: width) {
                unsafe body(
                    row..<min(rows, row + height), column..<min(columns, column + width), base + (row * stride + column * height) * dtype.size, width)
            }
        }
    }

    /// Puts rows of bytes that lie elsewhere into these rows.
    /// - Parameters:
    ///   - values: of each row, from `column` on.
    ///   - stride: bytes from one row of them to the next.
    func putIntoTiles(_ values: UnsafeRawPointer, stride: Int, rows: Range<Int>, columns: Range<Int>) {
        unsafe ck_tile_rows(
            base, self.stride * dtype.size, rows.lowerBound, columns.lowerBound * dtype.size, values, stride, rows.count, columns.count * dtype.size)
    }

    /// Has rows made: all at once in their place, or for tiles one at a time in a line, which is put into its tiles while it is in L1.
    fileprivate func makeRows(line: Matrix, make: (_ rows: Range<Int>, _ target: UnsafeMutableRawPointer) -> Void) {
        guard isTiled else { return unsafe make(0..<rows, base) }
        precondition(line.count * 4 >= columns * dtype.size)
        for row in 0..<rows {
            unsafe make(row..<(row + 1), line.base)
            unsafe putIntoTiles(line.base, stride: 0, rows: row..<(row + 1), columns: 0..<columns)
        }
    }
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
        unsafe forEachPart { rows, columns, base, stride in
            for row in rows {
                let target = unsafe out.base + row * out.stride + columns.lowerBound
                let first = unsafe base + (row - rows.lowerBound) * stride * dtype.size
                if let quantization {
                    let bytes = unsafe first.assumingMemoryBound(to: UInt8.self)
                    for column in 0..<columns.count { unsafe target[column] = quantization.value(bytes[column], row: row) }
                } else {
                    unsafe ck_bf16_to_f32(target, first.assumingMemoryBound(to: UInt16.self), columns.count)
                }
            }
        }
        return out
    }
}

extension Memory {
    /// The next `rows` x `columns` values of an element type, with the rows' scales and zero points where it has them.
    /// - Parameter tiled: whether they lie in matrix tiles; the padding is zero where nobody used the memory before.
    package func take(_ rows: Int, _ columns: Int, _ dtype: DType, tiled: Bool = false) -> QuantizedMatrix {
        let stride = tiled ? MatrixTiles.wholeTiles(columns, of: MatrixTiles.columns(dtype)) : columns
        let values = take(((tiled ? MatrixTiles.wholeTiles(rows, of: MatrixTiles.rows) : rows) * stride * dtype.size + 3) / 4)
        let quantization = unsafe dtype == .u8 ? Quantization(scales: take(rows).base, zeroPoints: takeIntegers(rows)) : nil
        return unsafe QuantizedMatrix(
            dtype, rows: rows, columns: columns, stride: stride, isTiled: tiled, base: UnsafeMutableRawPointer(values.base), quantization, owner: self)
    }

    func takeIntegers(_ count: Int) -> UnsafeMutablePointer<Int32> {
        unsafe UnsafeMutableRawPointer(take(count).base).assumingMemoryBound(to: Int32.self)
    }
}

/// out = layer norm of x's rows * scale + shift, in the element type of `out`.
/// - Parameter line: scratch of two rows in float32.
package func normModulate(_ x: Matrix, scale: Matrix, shift: Matrix, epsilon: Float, line: Matrix, into out: QuantizedMatrix) {
    precondition(
        x.isContiguous && (out.isTiled || out.stride == out.columns) && x.rows == out.rows && x.columns == out.columns && scale.count == x.columns
            && shift.count == x.columns && line.count >= 2 * x.columns, "\(x.rows) x \(x.columns) into \(out.rows) x \(out.columns)")
    let n = x.columns
    unsafe out.makeRows(line: line.values(n..<(2 * n))) { rows, target in
        let first = unsafe x.base + rows.lowerBound * n
        switch out.dtype {
        case .f32:
            unsafe ck_norm_modulate(target.assumingMemoryBound(to: Float.self), first, scale.base, shift.base, nil, nil, rows.count, n, epsilon)
        case .bf16:
            unsafe ck_norm_modulate_bf16(target.assumingMemoryBound(to: UInt16.self), first, scale.base, shift.base, rows.count, n, epsilon)
        case .u8:
            let quantization = out.quantization?.rows(from: rows.lowerBound)
            unsafe ck_norm_modulate_u8(
                target.assumingMemoryBound(to: UInt8.self), quantization?.scales, quantization?.zeroPoints, first, scale.base, shift.base, rows.count, n,
                epsilon, line.base)
        default: noKernel(for: out.dtype)
        }
    }
}

/// bfloat16 rows to bytes, each row over its own range.
/// - Parameter line: scratch of two rows in float32.
package func quantise(_ x: QuantizedMatrix, line: Matrix, into out: QuantizedMatrix) {
    precondition(
        x.dtype == .bf16 && out.dtype == .u8 && x.stride == x.columns && (out.isTiled || out.stride == out.columns) && x.rows == out.rows
            && x.columns == out.columns && line.count >= 2 * x.columns, "\(x.dtype) into \(out.dtype)")
    let n = x.columns
    unsafe out.makeRows(line: line.values(n..<(2 * n))) { rows, target in
        let quantization = out.quantization?.rows(from: rows.lowerBound)
        unsafe ck_quantise_rows(
            target.assumingMemoryBound(to: UInt8.self), quantization?.scales, quantization?.zeroPoints, x.bfloat16 + rows.lowerBound * n, rows.count, n,
            line.base)
    }
}

/// The instruction set of the kernels, for logs and benchmarks.
package var kernelDescription: String {
    switch ck_current_level() {
    case CK_AVX512_BF16: "AVX-512 with bfloat16"
    case CK_AVX512: "AVX-512"
    case CK_AVX2: "AVX2"
    default: "scalar kernels"
    }
}
