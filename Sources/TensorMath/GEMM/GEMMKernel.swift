import COneDNN

/// What keeps a matrix from being packed.
package enum TensorMathError: Error, Equatable, CustomStringConvertible {
    case cannotPack(outputs: Int, inputs: Int, reason: String)

    package var description: String {
        switch self {
        case .cannotPack(let outputs, let inputs, let reason): "a matrix of \(outputs) x \(inputs) cannot be packed: \(reason)"
        }
    }
}

/// The matrix product of frozen matrices, and the one place where another back end attaches (`Architecture.md`, "The compute seam"):
/// it is made for one shape, packs a matrix once, and then multiplies tiles of rows by it. Here it is oneDNN's.
// @unchecked: oneDNN lets any number of threads run one primitive; its packed matrices and scratch come with each run.
@safe final class GEMMKernel: @unchecked Sendable {
    let rows: Int
    /// Of the rows that it multiplies.
    let dtype: DType
    private let product: OpaquePointer
    private let shape: od_product_shape

    /// - Parameter like: a product of the same element type, outputs and inputs, whose packed matrices this one is to read too.
    init(_ dtype: DType, rows: Int, outputs: Int, inputs: Int, like: GEMMKernel? = nil) throws(TensorMathError) {
        let (w, out): (DType, DType) = dtype == .u8 ? (.i8, .i32) : (dtype, .f32)
        shape = od_product_shape(
            rows: rows, n: outputs, k: inputs, x_stride: inputs, out_stride: outputs, x: dtype.oneDNN, w: w.oneDNN, out: out.oneDNN,
            adding: false, outer: false)
        guard let made = unsafe od_product_create(shape, like?.product) else { throw GEMMKernel.failure(outputs, inputs) }
        unsafe product = made
        self.rows = rows
        self.dtype = dtype
    }

    /// The product of two activations, dy^T x added to [outputs, inputs]: neither is packed, and both lie row by row.
    /// - Parameter rows: of both.
    init(gradientOf dtype: DType, rows: Int, outputs: Int, inputs: Int) throws(TensorMathError) {
        shape = od_product_shape(
            rows: outputs, n: inputs, k: rows, x_stride: outputs, out_stride: inputs, x: dtype.oneDNN, w: dtype.oneDNN, out: DType.f32.oneDNN,
            adding: true, outer: true)
        guard let made = unsafe od_product_create(shape, nil) else { throw GEMMKernel.failure(outputs, inputs) }
        unsafe product = made
        self.rows = rows
        self.dtype = dtype
    }

    deinit { unsafe od_product_destroy(product) }

    var outputs: Int { shape.n }
    var inputs: Int { shape.k }
    var packedBytes: Int { unsafe od_product_packed_bytes(product) }
    var scratchBytes: Int { unsafe od_product_scratch_bytes(product) }

    /// - Parameters:
    ///   - w: [outputs, inputs], or where `transposed` [inputs, outputs].
    ///   - type: of its values: `f32` and `bf16` are converted, `i8` stays.
    func pack(_ w: UnsafeRawPointer, _ type: DType, transposed: Bool = false, into packed: UnsafeMutableRawPointer) throws(TensorMathError) {
        guard unsafe od_product_pack(product, packed, w, type.oneDNN, transposed) else { throw GEMMKernel.failure(shape.n, shape.k) }
    }

    func run(_ x: UnsafeRawPointer, _ packed: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, scratch: UnsafeMutableRawPointer) {
        let done = unsafe od_product_run(product, x, packed, out, scratch)
        // Shapes were settled when it was made: what is left is a machine without memory.
        precondition(done, unsafe String(cString: od_error()))
    }

    private static func failure(_ outputs: Int, _ inputs: Int) -> TensorMathError {
        .cannotPack(outputs: outputs, inputs: inputs, reason: unsafe String(cString: od_error()))
    }
}

extension DType {
    /// oneDNN's name for it; the two meet nowhere else.
    var oneDNN: od_type {
        switch self {
        case .f32: OD_F32
        case .bf16: OD_BF16
        case .i32: OD_S32
        case .i8: OD_S8
        case .u8: OD_U8
        default: noKernel(for: self)
        }
    }

    /// Whether this build on this processor has instructions of its own for rows of it times a packed matrix.
    var isMultipliedPacked: Bool { od_multiplies(oneDNN) }
}

/// What is computed with is float32, bfloat16 or bytes; no caller comes with another type.
func noKernel(for dtype: DType) -> Never { preconditionFailure("no kernel is there for \(dtype.rawValue)") }
