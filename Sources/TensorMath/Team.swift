/// Who works on one piece: the calling thread alone, or the whole pool with a barrier after each loop.
package enum Team: Sendable {
    case solo
    case pool(ComputePool)

    package var lanes: Int {
        switch self {
        case .solo: 1
        case .pool(let pool): pool.lanes
        }
    }

    /// Runs the body for each index; `lane` tells which scratch memory is free to use.
    package func forEach(_ count: Int, _ body: (_ index: Int, _ lane: Int) -> Void) {
        switch self {
        case .solo:
            for index in 0..<count { body(index, 0) }
        case .pool(let pool):
            pool.run { lane in
                for index in stride(from: lane, to: count, by: pool.lanes) { body(index, lane) }
            }
        }
    }
}
