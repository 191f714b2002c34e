import COpenBLAS

/// A factor of a product, and how it is read.
package struct Factor: Sendable {
    let matrix: Matrix
    let isTransposed: Bool

    package static func plain(_ m: Matrix) -> Factor { Factor(matrix: m, isTransposed: false) }
    package static func transposed(_ m: Matrix) -> Factor { Factor(matrix: m, isTransposed: true) }

    fileprivate var rows: Int { isTransposed ? matrix.columns : matrix.rows }
    fileprivate var columns: Int { isTransposed ? matrix.rows : matrix.columns }
}

/// c = scale a b, or c += scale a b. The library runs on the calling thread alone; `ThreadPool` does the splitting.
package func multiply(_ a: Factor, _ b: Factor, into c: Matrix, scale: Float = 1, adding: Bool = false) {
    precondition(
        a.rows == c.rows && b.columns == c.columns && a.columns == b.rows,
        "\(a.rows) x \(a.columns) times \(b.rows) x \(b.columns) into \(c.rows) x \(c.columns)")
    unsafe ob_sgemm(
        a.isTransposed, b.isTransposed, Int32(c.rows), Int32(c.columns), Int32(a.columns), scale, a.matrix.base, Int32(a.matrix.stride),
        b.matrix.base, Int32(b.matrix.stride), adding ? 1 : 0, c.base, Int32(c.stride))
}

/// What the BLAS says of itself: version, build and the kernels it runs, for logs and benchmarks.
package var blasDescription: String {
    unsafe String(cString: ob_config()) + ", core " + String(cString: ob_corename())
}
