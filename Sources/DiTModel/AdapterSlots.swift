import AdapterFormat
import Synchronization
import TensorMath

/// The slots of tunable values that the network reads, one per domain in use; a hot swap overwrites one slot.
///
/// All memory is taken once, but that of low-rank pairs, whose vectors are longer: at the first install of their kind. Slots with
/// and without pairs work in one batch. `install` writes the full set of absolute values, so what a slot held before leaves no
/// trace (law 1), and reading a slot never allocates: the views over it are built once.
// @unchecked: as for `Memory`, who overwrites a slot and when is the owner's affair: between two network calls.
package final class AdapterSlots: @unchecked Sendable {
    package let layout: TunableLayout
    /// Rows of class table that fit: classes and the null class.
    package let classRows: Int
    /// Memory of one slot for vectors over one layout, and its views.
    private struct Storage {
        let layout: TunableLayout
        let vector: Matrix
        let tunables: Tunables
    }
    /// Per slot and kind of low-rank pairs; the base's own kind from the start, others from their first install.
    private var storage: [[LowRank?: Storage]]
    private var current: [LowRank?]
    private let classTables: [Matrix]
    private let installations: Installations
    /// Views of each slot, as the network reads them.
    package private(set) var tunables: [Tunables]

    /// - Parameters:
    ///   - count: domains that can be installed at once.
    ///   - classRows: the largest class table a domain may bring, its null row included.
    package init(_ layout: TunableLayout, count: Int, classRows: Int) {
        let D = layout.configuration.hiddenSize
        let each = Memory.paddedCount(layout.count) + Memory.paddedCount(classRows * D)
        let memory = Memory(capacity: count * each)
        self.layout = layout
        self.classRows = classRows
        var storage: [Storage] = []
        var tables: [Matrix] = []
        for _ in 0..<count {
            let vector = memory.take(layout.count), table = memory.take(classRows, D)
            storage.append(Storage(layout: layout, vector: vector, tunables: Tunables(layout, values: vector, classTable: table)))
            tables.append(table)
        }
        tunables = storage.map(\.tunables)
        self.storage = storage.map { [layout.lowRank: $0] }
        classTables = tables
        installations = Installations(slots: count)
        current = storage.map { _ in layout.lowRank }
    }

    /// The hot swap: overwrites a slot with the vector and its class table. Allocates nothing, but for the first vector with
    /// its kind of low-rank pairs in this slot.
    package func install(_ vector: TunableVector, _ classes: ClassTable, slot: Int) {
        precondition(classes.rows <= classRows, "\(classes.rows) class rows into slots of \(classRows)")
        let lowRank = vector.lowRank
        let target = storage[slot][lowRank] ?? newStorage(layout.over(lowRank), slot: slot)
        target.vector.copy(from: vector.values)
        classTables[slot].values(0..<classes.values.count).copy(from: classes.values)
        installations.count(slot: slot)
        guard current[slot] != lowRank else { return }
        current[slot] = lowRank
        tunables[slot] = target.tunables
    }

    private func newStorage(_ layout: TunableLayout, slot: Int) -> Storage {
        let vector = Memory(capacity: Memory.paddedCount(layout.count)).take(layout.count)
        let made = Storage(layout: layout, vector: vector, tunables: Tunables(layout, values: vector, classTable: classTables[slot]))
        // Ranks come in any number of patterns: the memory of earlier ones does not pile up.
        if storage[slot].count > 4 { storage[slot] = storage[slot].filter { $0.key == self.layout.lowRank } }
        storage[slot][layout.lowRank] = made
        return made
    }

    package var bytes: Int {
        let vectors = storage.reduce(0) { $0 + $1.values.reduce(0) { $0 + $1.vector.count } }
        return (vectors + classTables.count * classRows * layout.configuration.hiddenSize) * MemoryLayout<Float>.size
    }

    /// What a slot holds now, read back value by value.
    package func read(slot: Int) -> TunableVector {
        guard let held = storage[slot][current[slot]] else { preconditionFailure("slot \(slot) has no values") }
        return TunableVector(held.vector.array, layout: held.layout)
    }

    /// A number that no other content of any slot of the process has had: what was computed from a slot is valid while it stays.
    func installation(slot: Int) -> UInt64 { installations[slot] }
}

/// Which installation each slot holds, counted over the whole process.
private final class Installations: Sendable {
    private static let last = Atomic<UInt64>(0)
    private let numbers: Mutex<[UInt64]>

    init(slots: Int) { numbers = Mutex((0..<slots).map { _ in Installations.next() }) }

    subscript(slot: Int) -> UInt64 { numbers.withLock { $0[slot] } }

    func count(slot: Int) { numbers.withLock { $0[slot] = Installations.next() } }

    private static func next() -> UInt64 { last.wrappingAdd(1, ordering: .relaxed).newValue }
}
