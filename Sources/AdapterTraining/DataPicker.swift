import DiTModel
import Foundation
import TensorMath

/// Picks the pictures that stand for all: of each class, as many cluster centres as pictures are wanted, and the picture nearest
/// to each (`DiffFit.md`, "Picking pictures"; after E2GAN, arXiv 2401.06127).
package enum DataPicker {
    /// - Parameters:
    ///   - features: (images, D), one row per image of the data.
    ///   - share: of each class, at least one image.
    /// - Returns: the chosen images, ascending.
    package static func pick(_ data: TrainingData, features: Matrix, share: Double, seed: UInt64, pool: ThreadPool) -> [Int] {
        precondition(features.rows == data.count, "\(features.rows) rows of features for \(data.count) images")
        return data.byClass.enumerated().flatMap { label, images -> [Int] in
            guard !images.isEmpty else { return [] }
            let wanted = min(images.count, max(1, Int((share * Double(images.count)).rounded())))
            let memory = Memory(capacity: images.count * Memory.paddedCount(features.columns))
            let own = memory.take(images.count, features.columns)
            for (row, image) in images.enumerated() { own.row(row).copy(from: features.row(image)) }
            return nearest(own, count: wanted, draws: Philox(seed: seed, stream: 9 << 59 | UInt64(label)), pool).map { images[$0] }
        }.sorted()
    }

    /// k-means (Lloyd's rounds from distinct random rows), then for each centre its nearest row that no other centre has taken.
    private static func nearest(_ rows: Matrix, count: Int, draws: Philox, _ pool: ThreadPool) -> [Int] {
        let order = (0..<rows.rows).sorted { (draws.uniform(UInt64($0)), $0) < (draws.uniform(UInt64($1)), $1) }
        guard count < rows.rows else { return Array(0..<rows.rows) }
        let centres = Memory(capacity: Memory.paddedCount(count * rows.columns)).take(count, rows.columns)
        for (centre, row) in order.prefix(count).enumerated() { centres.row(centre).copy(from: rows.row(row)) }
        let products = Memory(capacity: Memory.paddedCount(rows.rows * count)).take(rows.rows, count)
        var assigned: [Int] = []
        for _ in 0..<25 {
            let now = distances(rows, centres, products, pool).map { row in row.indices.min { (row[$0], $0) < (row[$1], $1) } ?? 0 }
            if now == assigned { break }
            assigned = now
            let members = Dictionary(grouping: rows.indices, by: { assigned[$0] })
            for (centre, own) in members {
                let mean = centres.row(centre)
                mean.fill(0)
                for row in own { add(rows.row(row), scaledBy: 1 / Float(own.count), to: mean) }
            }
        }
        let last = distances(rows, centres, products, pool)
        var taken: Set<Int> = []
        for centre in 0..<count {
            if let row = rows.indices.filter({ !taken.contains($0) }).min(by: { (last[$0][centre], $0) < (last[$1][centre], $1) }) { taken.insert(row) }
        }
        return taken.sorted()
    }

    /// Squared distances of every row to every centre.
    private static func distances(_ rows: Matrix, _ centres: Matrix, _ products: Matrix, _ pool: ThreadPool) -> [[Float]] {
        let squares = (0..<centres.rows).map { Float(sumOfSquares(centres.row($0))) }
        pool.run { thread in
            let part = pool.share(of: rows.rows, thread: thread)
            if !part.isEmpty { multiply(.plain(rows.rows(part)), .transposed(centres), into: products.rows(part)) }
        }
        return rows.indices.map { row in
            let own = Float(sumOfSquares(rows.row(row)))
            return zip(squares, products.row(row).array).map { own + $0 - 2 * $1 }
        }
    }
}

extension Matrix {
    fileprivate var indices: Range<Int> { 0..<rows }
}
