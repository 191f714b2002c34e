import AdapterFormat
import Synchronization
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
    private let installations: Installations
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
        installations = Installations(rows: rows)
        self.vectors = vectors
        self.classTables = tables
        self.rows = zip(vectors, tables).map { Tunables(layout, values: $0, classTable: $1) }
    }

    /// The hot swap: overwrites row `row` with the vector and its class table. Allocates nothing.
    package func install(_ vector: TunableVector, _ classes: ClassTable, row: Int) {
        precondition(classes.rows <= classRows, "\(classes.rows) class rows into a bank of \(classRows)")
        vectors[row].copy(from: vector.values)
        classTables[row].values(0..<classes.values.count).copy(from: classes.values)
        installations.count(row: row)
    }

    package var bytes: Int { vectors.count * (layout.count + classRows * layout.configuration.hiddenSize) * MemoryLayout<Float>.size }

    /// What row `row` holds now, read back value by value.
    package func read(row: Int) -> TunableVector { TunableVector(vectors[row].array, layout: layout) }

    /// A number that no other content of any row of any bank has had: what was computed from a row is valid while it stays.
    func installation(row: Int) -> UInt64 { installations[row] }
}

/// Which installation each row holds, counted over all banks of the process.
private final class Installations: Sendable {
    private static let last = Atomic<UInt64>(0)
    private let numbers: Mutex<[UInt64]>

    init(rows: Int) { numbers = Mutex((0..<rows).map { _ in Installations.next() }) }

    subscript(row: Int) -> UInt64 { numbers.withLock { $0[row] } }

    func count(row: Int) { numbers.withLock { $0[row] = Installations.next() } }

    private static func next() -> UInt64 { last.wrappingAdd(1, ordering: .relaxed).newValue }
}
