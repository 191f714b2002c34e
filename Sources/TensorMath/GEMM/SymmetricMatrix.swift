import COpenBLAS

/// A symmetric matrix in double precision, for statistics: a covariance, its eigenvalues, its square root.
package struct SymmetricMatrix: Sendable, Equatable {
    package let order: Int
    /// `order * order` values, row by row.
    package let values: [Double]

    /// - Precondition: the values are those of a symmetric matrix.
    package init(order: Int, values: [Double]) {
        precondition(values.count == order * order, "\(values.count) values for a matrix of order \(order)")
        self.order = order
        self.values = values
    }

    package subscript(row: Int, column: Int) -> Double { values[row * order + column] }

    package var trace: Double { (0..<order).reduce(0) { $0 + self[$1, $1] } }

    /// X^T X of `rows` rows of `order` values each.
    package init(gramOf x: [Double], order: Int) {
        precondition(order > 0 && x.count.isMultiple(of: order), "\(x.count) values in rows of \(order)")
        var product = [Double](repeating: 0, count: order * order)
        unsafe ob_dsyrk(Int32(order), Int32(x.count / order), x, Int32(order), &product, Int32(order))
        for row in 0..<order {
            for column in 0..<row { product[row * order + column] = product[column * order + row] }
        }
        self.init(order: order, values: product)
    }

    /// Eigenvalues, the smallest first.
    package var eigenvalues: [Double] { decomposition(withVectors: false).values }

    /// The symmetric root of a matrix without negative eigenvalues; what rounding made of a zero counts as zero.
    package var squareRoot: SymmetricMatrix {
        let (eigenvalues, vectors) = decomposition(withVectors: true)
        // Row k of `vectors` is eigenvector k; with rows scaled by the fourth root, V^T V is the root.
        var scaled = vectors
        for (k, eigenvalue) in eigenvalues.enumerated() {
            let factor = max(eigenvalue, 0).squareRoot().squareRoot()
            for column in 0..<order { scaled[k * order + column] *= factor }
        }
        return SymmetricMatrix(gramOf: scaled, order: order)
    }

    /// self + value I.
    package func addingToDiagonal(_ value: Double) -> SymmetricMatrix {
        var sum = values
        for i in 0..<order { sum[i * order + i] += value }
        return SymmetricMatrix(order: order, values: sum)
    }

    /// x of self x = b by Cholesky's factor; nil where the columns are not independent, or the matrix is not positive definite.
    package func solution(_ b: [Double]) -> [Double]? {
        precondition(b.count == order, "\(b.count) values for a matrix of order \(order)")
        var l = values, x = b
        func inner(_ i: Int, _ j: Int) -> Double {
            var sum = 0.0
            for k in 0..<j { sum += l[i * order + k] * l[j * order + k] }
            return sum
        }
        for j in 0..<order {
            let pivot = self[j, j] - inner(j, j)
            guard pivot > 1e-10 * self[j, j] else { return nil }
            l[j * order + j] = pivot.squareRoot()
            for i in (j + 1)..<max(j + 1, order) { l[i * order + j] = (self[i, j] - inner(i, j)) / l[j * order + j] }
        }
        for i in 0..<order { x[i] = (x[i] - (0..<i).reduce(0) { $0 + l[i * order + $1] * x[$1] }) / l[i * order + i] }
        for i in (0..<order).reversed() { x[i] = (x[i] - ((i + 1)..<order).reduce(0) { $0 + l[$1 * order + i] * x[$1] }) / l[i * order + i] }
        return x
    }

    /// U by rows, zero below its diagonal, where U^T U is the inverse; nil where the matrix is not positive definite.
    package var inverseFactor: [Double]? {
        var a = values
        guard unsafe ob_inverse_factor(Int32(order), &a) == 0 else { return nil }
        for row in 1..<max(1, order) {
            for column in 0..<row { a[row * order + column] = 0 }
        }
        return a
    }

    /// s self s.
    package func between(_ s: SymmetricMatrix) -> SymmetricMatrix {
        precondition(s.order == order, "order \(s.order) around order \(order)")
        return SymmetricMatrix(order: order, values: s.times(times(s.values)))
    }

    private func times(_ other: [Double]) -> [Double] {
        var product = [Double](repeating: 0, count: order * order)
        let n = Int32(order)
        unsafe ob_dgemm(false, false, n, n, n, 1, values, n, other, n, 0, &product, n)
        return product
    }

    /// LAPACK's dsyevd. Its column-major eigenvectors are the rows of the array.
    private func decomposition(withVectors: Bool) -> (values: [Double], vectors: [Double]) {
        var a = values, w = [Double](repeating: 0, count: order)
        // Room that LAPACK's page on dsyevd asks for.
        var work = [Double](repeating: 0, count: withVectors ? 1 + 6 * order + 2 * order * order : 2 * order + 1)
        var whole = [Int32](repeating: 0, count: withVectors ? 3 + 5 * order : 1)
        let info = unsafe ob_dsyevd(withVectors, Int32(order), &a, &w, &work, Int32(work.count), &whole, Int32(whole.count))
        precondition(info == 0, "dsyevd found no eigenvalues of a matrix of order \(order) (info \(info)); are its values finite?")
        return (w, a)
    }
}
