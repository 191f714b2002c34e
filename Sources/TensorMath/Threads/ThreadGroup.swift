/// Who works on one piece: the calling thread alone, or the whole pool with a barrier after each loop.
package enum ThreadGroup: Sendable {
    case solo
    case pool(ThreadPool)

    package var threadCount: Int {
        switch self {
        case .solo: 1
        case .pool(let pool): pool.threadCount
        }
    }

    /// Runs the body for each index; `thread` tells which scratch memory is free to use.
    package func forEach(_ count: Int, _ body: (_ index: Int, _ thread: Int) -> Void) {
        switch self {
        case .solo:
            for index in 0..<count { body(index, 0) }
        case .pool(let pool):
            pool.run { thread in
                for index in stride(from: thread, to: count, by: pool.threadCount) { body(index, thread) }
            }
        }
    }
}
