import Foundation

/// Lets many transactions run at once, and the change of the map's size only when none does.
///
/// Transactions must not nest: the inner one would wait behind a resize that waits for the outer one.
// @unchecked: the counters are touched only while the condition is held.
final class TransactionGate: @unchecked Sendable {
    private let condition = NSCondition()
    private var running = 0
    private var resizing = 0

    func transaction<R>(_ body: () throws(StoreError) -> R) throws(StoreError) -> R {
        condition.lock()
        while resizing > 0 { condition.wait() }
        running += 1
        condition.unlock()
        defer {
            condition.lock()
            running -= 1
            condition.broadcast()
            condition.unlock()
        }
        return try body()
    }

    func resize<R>(_ body: () throws(StoreError) -> R) throws(StoreError) -> R {
        condition.lock()
        resizing += 1
        while running > 0 { condition.wait() }
        defer {
            resizing -= 1
            condition.broadcast()
            condition.unlock()
        }
        return try body()
    }
}
