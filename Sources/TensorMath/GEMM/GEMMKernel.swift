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
    private let product: OpaquePointer
    private let shape: od_product_shape

    /// - Parameter like: a product of the same form, outputs and inputs, whose packed matrices this one is to read too.
    init(_ form: QuantizedMatrix.Form, rows: Int, outputs: Int, inputs: Int, like: GEMMKernel? = nil) throws(TensorMathError) {
        let (x, w, out) =
            switch form {
            case .f32: (OD_F32, OD_F32, OD_F32)
            case .bf16: (OD_BF16, OD_BF16, OD_F32)
            case .u8: (OD_U8, OD_S8, OD_S32)
            }
        shape = od_product_shape(rows: rows, n: outputs, k: inputs, x_stride: inputs, out_stride: outputs, x: x, w: w, out: out, adding: false)
        guard let made = unsafe od_product_create(shape, like?.product) else { throw GEMMKernel.failure(outputs, inputs) }
        unsafe product = made
        self.rows = rows
    }

    deinit { unsafe od_product_destroy(product) }

    var outputs: Int { shape.n }
    var inputs: Int { shape.k }
    var packedBytes: Int { unsafe od_product_packed_bytes(product) }
    var scratchBytes: Int { unsafe od_product_scratch_bytes(product) }

    /// - Parameters:
    ///   - w: [outputs, inputs], or where `transposed` [inputs, outputs].
    ///   - type: of its values: OD_F32 and OD_BF16 convert, OD_S8 stays.
    func pack(_ w: UnsafeRawPointer, _ type: od_type, transposed: Bool = false, into packed: UnsafeMutableRawPointer) throws(TensorMathError) {
        guard unsafe od_product_pack(product, packed, w, type, transposed) else { throw GEMMKernel.failure(shape.n, shape.k) }
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
