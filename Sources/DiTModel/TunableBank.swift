import AdapterFormat
import TensorMath

/// The rows of tunable values that the network reads, one per domain in use; a hot swap overwrites one row.
///
/// All memory is taken once. `install` writes the full set of absolute values, so what a row held before leaves no trace
/// (law 1), and reading a row never allocates: the views over it are built here.
package struct TunableBank: Sendable {
    package let layout: TunableLayout
    /// Rows of class table that fit: classes and the null class.
    package let classRows: Int
    private let vectors: [Matrix]
    private let classTables: [Matrix]
    /// Views of each row, as the network reads them.
    package let rows: [Tunables]

    /// - Parameters:
    ///   - rows: domains that can be installed at once.
    ///   - classRows: the largest class table a domain may bring, its null row included.
    package init(_ layout: TunableLayout, rows: Int, classRows: Int) {
        let D = layout.configuration.hiddenSize
        let each = Memory.paddedCount(layout.count) + Memory.paddedCount(classRows * D)
        let memory = Memory(capacity: rows * each)
        self.layout = layout
        self.classRows = classRows
        var vectors: [Matrix] = []
        var tables: [Matrix] = []
        for _ in 0..<rows {
            vectors.append(memory.take(layout.count))
            tables.append(memory.take(classRows, D))
        }
        self.vectors = vectors
        self.classTables = tables
        self.rows = zip(vectors, tables).map { Tunables(layout, values: $0, classTable: $1) }
    }

    /// The hot swap: overwrites row `row` with the vector and its class table. Allocates nothing.
    package func install(_ vector: TunableVector, _ classes: ClassTable, row: Int) {
        precondition(classes.rows <= classRows, "\(classes.rows) class rows into a bank of \(classRows)")
        vectors[row].copy(from: vector.values)
        classTables[row].values(0..<classes.values.count).copy(from: classes.values)
    }

    package var bytes: Int { vectors.count * (layout.count + classRows * layout.configuration.hiddenSize) * MemoryLayout<Float>.size }

    /// What row `row` holds now, read back value by value.
    package func read(row: Int) -> TunableVector { TunableVector(vectors[row].array, layout: layout) }

    /// Row `row` as one vector, for training in place.
    package func values(row: Int) -> Matrix { vectors[row] }
}
