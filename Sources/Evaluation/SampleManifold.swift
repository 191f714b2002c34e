import TensorMath

/// Where a sample lies among real images: precision and recall of the two manifolds (arXiv 1904.06991), variety within a class, and what
/// comes from memory. Distances are between features, each in units of its deviation over the reference set, as in `FrechetFigure`.
package struct SampleManifold: Sendable, Hashable, Codable {
    /// Share of sampled images that lie within a real image's reach, and of real images that lie within a sampled one's: the distance to its
    /// third neighbour among its own.
    package let precision, recall: Estimate
    /// Mean distance of two images of one class, over that of real ones; nil without classes of two or more.
    package let variety: Double?
    /// Share of sampled images that are nearer to a training image than any held-out image is; nil where nothing was held out.
    package let memorised: Estimate?

    /// The neighbour whose distance is an image's reach.
    static let neighbour = 3

    /// - Parameters:
    ///   - sample: (m, D).
    ///   - classes: of each sampled image, as `referenceLabels` number them; nil where they are none of those.
    ///   - reference: (n, D), features of real images; of more than the sample has, so many are taken evenly.
    ///   - training, heldOut: (.., D), of the images that were trained on, and of such that were not.
    package init(
        sample: Matrix, classes: [Int]?, reference: Matrix, referenceLabels: [Int], training: Matrix? = nil, heldOut: Matrix? = nil, bootstrap: Bootstrap
    ) {
        let scale = ColumnStatistics(reference), sampled = scale.scaled(sample), count = min(sample.rows, reference.rows)
        let taken = (0..<count).map { $0 * reference.rows / count }
        let real = scale.scaled(reference).choosing(taken)
        let across = squaredDistances(sampled, real)
        func reach(_ rows: Matrix) -> [Float] {
            let own = squaredDistances(rows, rows)
            // An image is its own nearest.
            return (0..<rows.rows).map { row in own.row(row).array.sorted()[min(Self.neighbour, rows.rows - 1)] }
        }
        let (realReach, sampledReach) = (reach(real), reach(sampled))
        precision = bootstrap.mean((0..<sampled.rows).map { row in zip(across.row(row).array, realReach).contains { $0 <= $1 } ? 1 : 0 })
        recall = bootstrap.mean((0..<count).map { column in sampledReach.indices.contains { across[$0, column] <= sampledReach[$0] } ? 1 : 0 })
        let apart = classes.flatMap { Self.distance(sampled, $0) }, realApart = Self.distance(real, taken.map { referenceLabels[$0] })
        variety = apart.flatMap { own in realApart.map { own / $0 } }
        memorised = training.flatMap { training in
            heldOut.map { heldOut in
                let known = scale.scaled(training)
                func nearest(_ rows: Matrix) -> [Float] {
                    let distances = squaredDistances(rows, known)
                    return (0..<rows.rows).map { distances.row($0).array.min() ?? .infinity }
                }
                let least = nearest(scale.scaled(heldOut)).min() ?? 0
                return bootstrap.mean(nearest(sampled).map { $0 < least ? 1 : 0 })
            }
        }
    }

    /// The mean distance of two rows of one label; nil where no label has two.
    private static func distance(_ rows: Matrix, _ labels: [Int]) -> Double? {
        let squares = squaredDistances(rows, rows), groups = Dictionary(grouping: labels.indices, by: { labels[$0] }).values.filter { $0.count > 1 }
        guard !groups.isEmpty else { return nil }
        let means = groups.map { own in
            let sum = own.reduce(0.0) { sum, one in own.reduce(sum) { $0 + Double(squares[one, $1].squareRoot()) } }
            return sum / Double(own.count * (own.count - 1))
        }
        return means.reduce(0, +) / Double(means.count)
    }
}

/// (rows of a, rows of b), none below zero.
private func squaredDistances(_ a: Matrix, _ b: Matrix) -> Matrix {
    let distances = Memory(capacity: Memory.paddedCount(a.rows * b.rows)).take(a.rows, b.rows)
    multiply(.plain(a), .transposed(b), into: distances, scale: -2)
    let (own, others) = ((0..<a.rows).map { Float(sumOfSquares(a.row($0))) }, (0..<b.rows).map { Float(sumOfSquares(b.row($0))) })
    for row in 0..<a.rows {
        distances.row(row).withMutableSpan { for i in $0.indices { $0[i] = max(0, $0[i] + own[row] + others[i]) } }
    }
    return distances
}

extension Matrix {
    /// Some rows.
    fileprivate func choosing(_ chosen: [Int]) -> Matrix {
        let some = Memory(capacity: Memory.paddedCount(chosen.count * columns)).take(chosen.count, columns)
        for (row, from) in chosen.enumerated() { some.row(row).copy(from: self.row(from)) }
        return some
    }
}
