import AdapterFormat
import Synchronization
import TensorMath

/// The rows of tunable values that the network reads, one per domain in use; a hot swap overwrites one row.
///
/// All memory is taken once, but that of low-rank pairs, whose vectors are longer: at the first install of their kind. Rows with
/// and without pairs work in one batch. `install` writes the full set of absolute values, so what a row held before leaves no
/// trace (law 1), and reading a row never allocates: the views over it are built once.
// @unchecked: as for `Memory`, who overwrites a row and when is the owner's affair: between two network calls.
package final class TunableBank: @unchecked Sendable {
    package let layout: TunableLayout
    /// Rows of class table that fit: classes and the null class.
    package let classRows: Int
    /// Memory of one row for vectors over one layout, and its views.
    private struct Slot {
        let layout: TunableLayout
        let vector: Matrix
        let tunables: Tunables
    }
    /// Per row and kind of low-rank pairs; the bank's own kind from the start, others from their first install.
    private var slots: [[LowRank?: Slot]]
    private var current: [LowRank?]
    private let classTables: [Matrix]
    private let installations: Installations
    /// Views of each row, as the network reads them.
    package private(set) var rows: [Tunables]

    /// - Parameters:
    ///   - rows: domains that can be installed at once.
    ///   - classRows: the largest class table a domain may bring, its null row included.
    package init(_ layout: TunableLayout, rows: Int, classRows: Int) {
        let D = layout.configuration.hiddenSize
        let each = Memory.paddedCount(layout.count) + Memory.paddedCount(classRows * D)
        let memory = Memory(capacity: rows * each)
        self.layout = layout
        self.classRows = classRows
        var slots: [Slot] = []
        var tables: [Matrix] = []
        for _ in 0..<rows {
            let vector = memory.take(layout.count), table = memory.take(classRows, D)
            slots.append(Slot(layout: layout, vector: vector, tunables: Tunables(layout, values: vector, classTable: table)))
            tables.append(table)
        }
        self.rows = slots.map(\.tunables)
        self.slots = slots.map { [layout.lowRank: $0] }
        classTables = tables
        installations = Installations(rows: rows)
        current = slots.map { _ in layout.lowRank }
    }

    /// The hot swap: overwrites row `row` with the vector and its class table. Allocates nothing, but for the first vector with
    /// its kind of low-rank pairs in this row.
    package func install(_ vector: TunableVector, _ classes: ClassTable, row: Int) {
        precondition(classes.rows <= classRows, "\(classes.rows) class rows into a bank of \(classRows)")
        let lowRank = vector.lowRank
        let slot = slots[row][lowRank] ?? newSlot(layout.over(lowRank), row: row)
        slot.vector.copy(from: vector.values)
        classTables[row].values(0..<classes.values.count).copy(from: classes.values)
        installations.count(row: row)
        guard current[row] != lowRank else { return }
        current[row] = lowRank
        rows[row] = slot.tunables
    }

    private func newSlot(_ layout: TunableLayout, row: Int) -> Slot {
        let vector = Memory(capacity: Memory.paddedCount(layout.count)).take(layout.count)
        let slot = Slot(layout: layout, vector: vector, tunables: Tunables(layout, values: vector, classTable: classTables[row]))
        // Ranks come in any number of patterns: the memory of earlier ones does not pile up.
        if slots[row].count > 4 { slots[row] = slots[row].filter { $0.key == self.layout.lowRank } }
        slots[row][layout.lowRank] = slot
        return slot
    }

    package var bytes: Int {
        let vectors = slots.reduce(0) { $0 + $1.values.reduce(0) { $0 + $1.vector.count } }
        return (vectors + classTables.count * classRows * layout.configuration.hiddenSize) * MemoryLayout<Float>.size
    }

    /// What row `row` holds now, read back value by value.
    package func read(row: Int) -> TunableVector {
        guard let slot = slots[row][current[row]] else { preconditionFailure("row \(row) has no values") }
        return TunableVector(slot.vector.array, layout: slot.layout)
    }

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
