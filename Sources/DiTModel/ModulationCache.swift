import AdapterFormat
import TensorMath

/// What decides a network row's conditioning.
package struct ConditionedRow: Hashable, Sendable {
    /// t as the embedder takes it.
    package let time: Float
    /// Row of the class table.
    package let classRow: Int
    package let slot: Int

    package init(time: Float, classRow: Int, slot: Int) {
        self.time = time
        self.classRow = classRow
        self.slot = slot
    }
}

/// The adaLN outputs of the rows at hand and of those that will come: the steps of a request are known when it starts, so one product
/// computes many of them, reading the modulation matrices (a third of a DiT) once.
///
/// A ring of rows: what was computed longest ago gives way. A row is named by its timestep, class and what its slot holds at the moment,
/// so a swap leaves nothing stale.
struct ModulationCache {
    let state: ConditioningState
    /// Enough rows for one reading of the matrices to be paid for.
    static let rowsAtOnce = 32
    private let capacity: Int
    /// Rows of one product at most.
    private let stretch: Int
    private var start = 0
    private var places: [Name: Int] = [:]
    private var names: [Name?]

    fileprivate struct Name: Hashable {
        let time: Float
        let classRow: Int
        let installation: UInt64
    }

    /// - Parameter rows: rows of one call at most.
    init(_ model: InferenceDiT, rows: Int) {
        let c = model.configuration
        stretch = max(rows, ModulationCache.rowsAtOnce)
        capacity = ModulationCache.capacity(c, rows: rows)
        state = ConditioningState(c, rows: capacity)
        names = [Name?](repeating: nil, count: capacity)
    }

    private static func bytesPerRow(_ c: DiTConfiguration) -> Int { 4 * c.hiddenSize * (6 * c.depth + 2) }
    private static func capacity(_ c: DiTConfiguration, rows: Int) -> Int { max(2 * max(rows, rowsAtOnce), 64 << 20 / bytesPerRow(c)) }
    static func bytes(_ c: DiTConfiguration, rows: Int) -> Int { capacity(c, rows: rows) * bytesPerRow(c) }

    /// The place of each row's conditioning in `state`, computed where it is not there yet.
    /// - Parameter ahead: rows of calls to come, the next first; asked for only when something has to be computed.
    mutating func places(
        of rows: [ConditionedRow], ahead: () -> [ConditionedRow], adapterSlots: AdapterSlots, model: InferenceDiT, group: ThreadGroup
    ) -> [Int] {
        let wanted = rows.map { Name($0, adapterSlots) }
        if let known = known(wanted) { return known }
        if start + stretch > capacity { start = 0 }
        for place in start..<(start + stretch) {
            if let name = names[place] { places[name] = nil }
            names[place] = nil
        }
        var end = start
        var chosen: [ConditionedRow] = []
        for row in rows + ahead() where end < start + stretch {
            let name = Name(row, adapterSlots)
            guard places[name] == nil else { continue }
            places[name] = end
            names[end] = name
            chosen.append(row)
            end += 1
        }
        model.condition(
            state, from: start, times: chosen.map(\.time), classes: chosen.map(\.classRow), tunables: chosen.map { adapterSlots.tunables[$0.slot] },
            group: group)
        start = end
        guard let known = known(wanted) else { preconditionFailure("\(rows.count) rows in a table of \(capacity)") }
        return known
    }

    private func known(_ wanted: [Name]) -> [Int]? {
        var found: [Int] = []
        for name in wanted {
            guard let place = places[name] else { return nil }
            found.append(place)
        }
        return found
    }
}

extension ModulationCache.Name {
    fileprivate init(_ row: ConditionedRow, _ adapterSlots: AdapterSlots) {
        self.init(time: row.time, classRow: row.classRow, installation: adapterSlots.installation(slot: row.slot))
    }
}
