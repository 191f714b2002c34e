import DiTModel
import TensorMath

/// What the blocks added to one row's tokens at the two latest calls that ran them, and the line through both: the sampling
/// cache's whole state, belonging to one image.
///
/// Every image decides by its own profile and its own history, so a mixed batch gives the bytes of solo runs (law 5).
final class ResidualCache {
    private var older, newer: Matrix  // (T, D)
    private let line: Matrix  // (T, D)
    private var olderCall = 0, newerCall = 0
    private var kept = 0

    init(_ tokens: Int, _ width: Int) {
        let memory = Memory(capacity: 3 * Memory.paddedCount(tokens * width))
        older = memory.take(tokens, width)
        newer = memory.take(tokens, width)
        line = memory.take(tokens, width)
    }

    /// What the row's blocks do at call `call`. A row that has not run twice yet runs, whatever the profile says.
    func cacheAction(at call: Int, runs: Bool) -> ResidualCacheAction {
        guard runs || kept < 2 else { return .skip(extrapolated(to: call)) }
        (older, newer) = (newer, older)
        (olderCall, newerCall) = (newerCall, call)
        kept += 1
        return .keep(newer)
    }

    /// A call that ran elsewhere, and what its blocks added.
    func take(_ residual: Matrix, at call: Int) {
        if case .keep(let place) = cacheAction(at: call, runs: true) { place.copy(from: residual) }
    }

    /// newer + (newer - older) (call - newerCall) / (newerCall - olderCall)
    func extrapolated(to call: Int) -> Matrix {
        let reach = Float(call - newerCall) / Float(newerCall - olderCall)
        newer.withSpan { newer in
            older.withSpan { older in
                line.withMutableSpan { line in for i in line.indices { line[i] = newer[i] + reach * (newer[i] - older[i]) } }
            }
        }
        return line
    }
}
