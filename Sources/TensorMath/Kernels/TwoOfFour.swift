import CKernels

/// out = w where it is one of the two of four neighbours along a row that count most, else 0.
/// - Parameters:
///   - w: (rows, n), n a multiple of 4.
///   - factors: what |w| is multiplied by before it is compared, per column; nil is 1.
///   - out: (rows, n); may be w.
package func keepTwoOfFour(_ w: Matrix, factors: Matrix? = nil, into out: Matrix) {
    precondition(w.isContiguous && out.isContiguous && w.rows == out.rows && w.columns == out.columns && w.columns % 4 == 0)
    precondition(factors.map { $0.count == w.columns } ?? true)
    unsafe ck_keep_two_of_four(out.base, w.base, factors.map { unsafe UnsafePointer($0.base) }, w.rows, w.columns)
}

/// gradient += lambda w, where w was not kept.
package func pullDropped(_ w: Matrix, kept: Matrix, lambda: Float, into gradient: Matrix) {
    precondition([w, kept, gradient].allSatisfy { $0.isContiguous && $0.count == w.count })
    unsafe ck_pull_dropped(gradient.base, w.base, kept.base, lambda, w.count)
}
