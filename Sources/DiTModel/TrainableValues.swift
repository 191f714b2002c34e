import AdapterFormat
import TensorMath

/// Everything a training run can move, flat in one memory: the tunable values, the class table, and the matrices where the
/// set is full. Parameters, gradients, moments and averages are four of these over one table.
package struct TrainableValues: Sendable {
    package let tunables: Tunables
    /// The tunable values in layout order.
    package let vector: Matrix
    /// (classes + 1, D).
    package let classTable: Matrix
    /// Present in full fine-tuning.
    package let weights: Weights?
    private let memory: Memory

    package init(_ layout: TunableLayout, classes: Int, withWeights: Bool) {
        let configuration = layout.configuration
        let names = withWeights ? Weights.names(configuration) : []
        let capacity =
            Memory.paddedCount(layout.count) + Memory.paddedCount((classes + 1) * configuration.hiddenSize)
            + names.reduce(0) { $0 + Memory.paddedCount($1.rows * $1.columns) }
        let memory = Memory(capacity: capacity)
        self.memory = memory
        vector = memory.take(layout.count)
        classTable = memory.take(classes + 1, configuration.hiddenSize)
        tunables = Tunables(layout, values: vector, classTable: classTable)
        weights = withWeights ? Weights(configuration) { _, rows, columns in memory.take(rows, columns) } : nil
    }

    /// Every value in one row, padding between the parts included (it stays zero).
    package var all: Matrix { memory.all }

    package func zero() { memory.zero() }

    /// Ranges of `all` that the set moves, neighbours joined.
    package func ranges(of set: TrainableSet, in layout: TunableLayout) -> [Range<Int>] {
        var ranges = set.tensors(of: layout).map(\.range)
        ranges.append(Memory.paddedCount(layout.count)..<memory.used)
        return ranges.reduce(into: []) { joined, next in
            if let last = joined.last, last.upperBound == next.lowerBound {
                joined[joined.count - 1] = last.lowerBound..<next.upperBound
            } else {
                joined.append(next)
            }
        }
    }
}
