import TensorMath

/// Mean and covariance of rows of features.
package struct GaussianStatistics: Sendable, Equatable {
    package let mean: [Double]
    /// With the divisor n - 1, as numpy's `cov` has it.
    package let covariance: SymmetricMatrix

    package init(mean: [Double], covariance: SymmetricMatrix) {
        precondition(mean.count == covariance.order, "a mean of \(mean.count) values, a covariance of order \(covariance.order)")
        self.mean = mean
        self.covariance = covariance
    }

    /// - Parameter positions: rows that count, each as often as it is named; nil takes all once.
    package init(_ features: Matrix, at positions: [Int]? = nil) {
        let order = features.columns, rows = positions ?? Array(0..<features.rows)
        precondition(rows.count > 1, "a covariance of \(rows.count) rows")
        var centred = [Double](repeating: 0, count: rows.count * order), mean = [Double](repeating: 0, count: order)
        features.withSpan { features in
            for (at, row) in rows.enumerated() {
                for column in 0..<order {
                    let value = Double(features[row * order + column])
                    centred[at * order + column] = value
                    mean[column] += value
                }
            }
        }
        for column in 0..<order { mean[column] /= Double(rows.count) }
        let scale = 1 / Double(rows.count - 1).squareRoot()
        for at in 0..<rows.count {
            for column in 0..<order { centred[at * order + column] = (centred[at * order + column] - mean[column]) * scale }
        }
        self.init(mean: mean, covariance: SymmetricMatrix(gramOf: centred, order: order))
    }

    /// Squared Fréchet distance of two Gaussians, |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2) (Dowson and Landau, 1982).
    package func squaredFrechetDistance(to other: GaussianStatistics) -> Double {
        squaredFrechetDistance(to: other, root: covariance.squareRoot)
    }

    /// - Parameter root: the square root of this covariance, where it serves several distances.
    func squaredFrechetDistance(to other: GaussianStatistics, root: SymmetricMatrix) -> Double {
        let shift = zip(mean, other.mean).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        let shared = other.covariance.between(root).eigenvalues.reduce(0) { $0 + max($1, 0).squareRoot() }
        // Equal Gaussians would come out a rounding below zero.
        return max(0, shift + covariance.trace + other.covariance.trace - 2 * shared)
    }
}
