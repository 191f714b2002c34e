import TensorMath

/// Takes two of every four weights along the rows of a matrix, by what the squared error of the layer's output would grow when one goes and the
/// rest makes up for it: w^2 / U_jj^2, where U^T U is the inverse of the layer's second derivative (OBS; column by column as SparseGPT does it,
/// arXiv 2301.00774, algorithm 1). What makes up for the weights that went is put on the kept ones to their right.
package enum SecondOrderPruning {
    /// Columns whose updates are gathered into one product.
    private static let block = 128
    /// Share of the mean second derivative that is added to each, so that inputs which hardly move do not blow up.
    private static let damping = 0.01

    /// - Parameters:
    ///   - w: (outputs, inputs), inputs a multiple of 4; overwritten by what is left of it.
    ///   - moments: the sum of x x^T over what the layer is multiplied by, (inputs, inputs).
    package static func prune(_ w: Matrix, moments: Matrix, pool: ThreadPool) {
        let n = w.columns
        precondition(n % 4 == 0 && moments.rows == n && moments.columns == n && w.isContiguous && moments.isContiguous)
        let factor = inverseFactor(moments)
        pool.run { thread in
            let share = (w.rows + pool.threadCount - 1) / pool.threadCount
            let rows = min(w.rows, thread * share)..<min(w.rows, (thread + 1) * share)
            if !rows.isEmpty { prune(w.rows(rows), factor) }
        }
    }

    /// The squared error of the layer's output against what it was, as a share of its square.
    package static func relativeError(of w: Matrix, against dense: Matrix, moments: Matrix) -> Double {
        let memory = Memory(capacity: 2 * Memory.paddedCount(w.count)), difference = memory.take(w.rows, w.columns), product = memory.take(w.rows, w.columns)
        func energy(_ x: Matrix) -> Double {
            multiply(.plain(x), .plain(moments), into: product)
            return x.withSpan { x in product.withSpan { product in x.indices.reduce(0.0) { $0 + Double(x[$1]) * Double(product[$1]) } } }
        }
        let whole = energy(dense)
        difference.copy(from: dense)
        add(w, scaledBy: -1, to: difference)
        return whole > 0 ? max(0, energy(difference)) / whole : 0
    }

    /// U by rows, in float32.
    private static func inverseFactor(_ moments: Matrix) -> Matrix {
        let n = moments.rows
        var values = moments.array.map(Double.init)
        let mean = (0..<n).reduce(0) { $0 + values[$1 * n + $1] } / Double(n)
        for i in 0..<n {
            // An input that is always zero has no say in any output; its weights are told apart by their size alone.
            values[i * n + i] += mean > 0 ? damping * mean : 1
        }
        guard let factor = SymmetricMatrix(order: n, values: values).inverseFactor else {
            preconditionFailure("a sum of squares with a positive diagonal is not positive definite; are its values finite?")
        }
        let matrix = Memory(capacity: Memory.paddedCount(n * n)).take(n, n)
        matrix.copy(from: factor.map(Float.init))
        return matrix
    }

    private static func prune(_ w: Matrix, _ factor: Matrix) {
        let (rows, n) = (w.rows, w.columns)
        let memory = Memory(capacity: Memory.paddedCount(rows * block)), errors = memory.take(rows, block)
        for first in stride(from: 0, to: n, by: block) {
            let last = min(n, first + block)
            errors.fill(0)
            w.withMutableSpan { w in
                errors.withMutableSpan { errors in
                    factor.withSpan { u in
                        for row in 0..<rows { pruneBlock(row: row, first..<last, n, &w, &errors, u) }
                    }
                }
            }
            if last < n {
                multiply(
                    .plain(errors.columns(0..<(last - first))), .plain(factor.rows(first..<last).columns(last..<n)), into: w.columns(last..<n), scale: -1,
                    adding: true)
            }
        }
    }

    /// One row's columns of a block: which go, group by group, and what their going puts on the columns of the block to their right.
    private static func pruneBlock(
        row: Int, _ columns: Range<Int>, _ n: Int, _ w: inout MutableSpan<Float>, _ errors: inout MutableSpan<Float>, _ u: Span<Float>
    ) {
        for group in stride(from: columns.lowerBound, to: columns.upperBound, by: 4) {
            var gone: (first: Int, second: Int) = (-1, -1)
            // The two least, of equal ones the last.
            for _ in 0..<2 {
                var least = Float.infinity, at = group
                for column in group..<(group + 4) where column != gone.first {
                    let score = w[row * n + column] / u[column * n + column]
                    if score * score <= least { (least, at) = (score * score, column) }
                }
                gone = gone.first < 0 ? (at, -1) : (gone.first, at)
            }
            for column in group..<(group + 4) where column == gone.first || column == gone.second {
                let error = w[row * n + column] / u[column * n + column]
                w[row * n + column] = 0
                errors[row * block + column - columns.lowerBound] = error
                for other in (column + 1)..<max(column + 1, columns.upperBound) {
                    w[row * n + other] -= error * u[column * n + other]
                }
            }
        }
    }
}
