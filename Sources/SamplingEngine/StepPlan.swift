import AdapterFormat
import Diffusion

/// What an image needs at each of its network calls: which stage of its recipe, whether it is guided, how many rows of the call,
/// and which adapter slots.
///
/// An image holds from its start what any later call needs, and gives back what none needs any more. So what it holds never
/// grows, and images that run can not wait for each other.
struct StepPlan: Sendable {
    struct Call: Sendable, Equatable {
        let stage: Int
        let isGuided: Bool
        let rows: Int
    }

    let calls: [Call]
    private let order: ImageOrder
    private let base: Digest

    init(_ order: ImageOrder, _ plan: SamplingPlan, base: Digest) {
        self.order = order
        self.base = base
        calls = (0..<plan.evaluations).map { index in
            let done = plan.stepsDone(before: index)
            // A fraction that falls on a step's beginning counts, whatever its last bit.
            let stage = order.stages.lastIndex { $0.start * Double(plan.steps) <= Double(done) + 1e-9 } ?? 0
            let isGuided = order.guidance.acts(at: plan.noiseLevel(index))
            let parts = order.stages[stage].parts.count
            return Call(stage: stage, isGuided: isGuided, rows: parts + (isGuided ? (order.guidance.kind == .domain ? 1 : parts) : 0))
        }
    }

    /// Network rows over all calls.
    var cost: Int { calls.reduce(0) { $0 + $1.rows } }

    /// Rows of the largest call from `position` on.
    func rows(from position: Int) -> Int { calls[position...].reduce(0) { max($0, $1.rows) } }

    /// Keys of the slots that calls from `position` on read, in the order in which they come.
    func adapters(from position: Int) -> [Digest] {
        var found: [Digest] = []
        func add(_ key: Digest) { if !found.contains(key) { found.append(key) } }
        var last: Call?
        for call in calls[position...] where call != last {
            for part in order.stages[call.stage].parts { add(part.adapter.key) }
            if call.isGuided, order.guidance.kind == .domain { add(base) }
            last = call
        }
        return found
    }

    /// Whether the image needs less from `position` on than one call before.
    func mayGiveBack(at position: Int) -> Bool { position > 0 && position < calls.count && calls[position] != calls[position - 1] }
}
