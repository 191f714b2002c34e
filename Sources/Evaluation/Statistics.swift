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

/// Mean of each column, and one over its deviation.
struct ColumnStatistics {
    let mean, inverseDeviation: [Float]

    init(_ features: Matrix) {
        let rows = Double(features.rows)
        let moments = (0..<features.columns).map { column in
            let values = (0..<features.rows).map { Double(features[$0, column]) }
            let mean = values.reduce(0, +) / rows
            return (mean, values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / rows)
        }
        mean = moments.map { Float($0.0) }
        // A column that never changes says nothing; it is left at 0.
        inverseDeviation = moments.map { $0.1 > 0 ? Float(1 / $0.1.squareRoot()) : 0 }
    }

    /// Each column over its deviation.
    func scaled(_ features: Matrix) -> Matrix {
        let scaled = Memory(capacity: Memory.paddedCount(features.count)).take(features.rows, features.columns)
        for row in 0..<features.rows {
            for column in 0..<features.columns { scaled[row, column] = features[row, column] * inverseDeviation[column] }
        }
        return scaled
    }
}

/// A figure of a sample with the deviation that another sample of this size would give it.
package struct Estimate: Sendable, Hashable, Codable {
    package let value: Double
    /// Deviation over bootstrap resamples.
    package let standardError: Double

    package init(value: Double, standardError: Double) {
        self.value = value
        self.standardError = standardError
    }
}

/// Efron's bootstrap: the sample drawn anew from itself, with replacement, by position: the same seed gives the same resamples.
package struct Bootstrap: Sendable {
    package let resamples: Int
    package let seed: UInt64

    package init(resamples: Int = 100, seed: UInt64 = 0) {
        precondition(resamples > 1)
        self.resamples = resamples
        self.seed = seed
    }

    /// Positions that resample `number` takes of `count` items.
    /// - Parameter set: sets resampled apart from each other have numbers of their own; paired ones share it.
    package func positions(_ number: Int, of count: Int, set: Int = 0) -> [Int] {
        let stream = EvaluationStream.resample(seed: seed, number: number, set: set)
        return (0..<count).map { min(count - 1, Int(Double(stream.uniform(UInt64($0))) * Double(count))) }
    }

    /// The mean of the values.
    package func mean(_ values: [Double]) -> Estimate {
        let means = (0..<resamples).map { number in positions(number, of: values.count).reduce(0) { $0 + values[$1] } / Double(values.count) }
        return Estimate(value: values.reduce(0, +) / Double(max(values.count, 1)), standardError: Self.deviation(means))
    }

    /// Standard deviation with the divisor n - 1.
    package static func deviation(_ values: [Double]) -> Double {
        guard values.count > 1 else { return 0 }
        let mean = values.reduce(0, +) / Double(values.count)
        return (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count - 1)).squareRoot()
    }
}
