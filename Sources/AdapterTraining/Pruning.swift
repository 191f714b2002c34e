import AdapterFormat
import TensorMath

/// Gives the smallest changes back to the base while training goes on, a few at a time, so that what stays can make up for them.
final class Pruning {
    /// 1 where a value stays, 0 where it is the base's again.
    private(set) var mask: [Float]
    private let settings: TrainingSettings
    private let tensors: [TunableTensor]
    private let base: [Float]

    init(_ settings: TrainingSettings, _ tensors: [TunableTensor], base: [Float]) {
        self.settings = settings
        self.tensors = tensors
        self.base = base
        mask = [Float](repeating: 1, count: base.count)
    }

    /// The step from which on the share is the wanted one.
    private var end: Int { settings.steps * 9 / 10 }
    func isDone(afterStep step: Int) -> Bool { step >= end }

    /// Values that were given back have no gradient.
    func clear(_ gradient: Matrix) {
        gradient.withMutableSpan { gradient in
            for index in gradient.indices where mask[index] == 0 { gradient[index] = 0 }
        }
    }

    /// From half of the run to nine tenths of it the share rises, a hundred times at most.
    func apply(afterStep step: Int, to values: Matrix, average: Matrix) {
        let start = settings.steps / 2
        let period = max(1, settings.steps / 250)
        if step > start, step <= end, step.isMultiple(of: period) || step == end {
            let sparsity = SparseMask.sparsity(atStep: step, from: start, to: end, target: settings.sparsity)
            mask = SparseMask.kept(values.array, over: base, tensors: tensors, sparsity: sparsity).map { $0 ? 1 : 0 }
        }
        for row in [values, average] {
            row.withMutableSpan { row in
                for index in row.indices where mask[index] == 0 { row[index] = base[index] }
            }
        }
    }

    func restore(_ mask: [Float]) { self.mask = mask }
}
