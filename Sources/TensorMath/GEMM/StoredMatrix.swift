import CKernels

/// A frozen matrix as its file holds it, read where it lies.
package enum StoredMatrix: Sendable {
    case floats(Matrix)
    /// bfloat16: products of that form are packed from it as it is.
    case bfloat16(QuantizedMatrix)

    var rows: Int {
        switch self {
        case .floats(let w): w.rows
        case .bfloat16(let w): w.rows
        }
    }

    var columns: Int {
        switch self {
        case .floats(let w): w.columns
        case .bfloat16(let w): w.columns
        }
    }

    /// The values as float32, converted into memory of their own where they are not that.
    package var floats: Matrix {
        switch self {
        case .floats(let w): w
        case .bfloat16(let w): w.floats(in: Memory(capacity: Memory.paddedCount(w.rows * w.columns)).take(w.rows, w.columns))
        }
    }
}

extension QuantizedMatrix {
    /// A read-only view of bfloat16 values without gaps that lie elsewhere (a mapped file).
    @unsafe package init(readOnlyBFloat16 address: UnsafeRawPointer, rows: Int, columns: Int, owner: AnyObject) {
        let base = unsafe UnsafeMutableRawPointer(mutating: address)
        unsafe self.init(.bf16, rows: rows, columns: columns, stride: columns, base: base, owner: owner)
    }
}
