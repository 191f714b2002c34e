import TensorMath

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
