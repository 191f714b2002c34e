import CKernels
import COpenBLAS
import Glibc

/// A fixed set of compute threads, one per core; the caller is lane 0 and works too.
///
/// `run` hands every lane the same closure and returns when all have finished. It is not reentrant: one owner calls it.
package final class ComputePool: Sendable {
    package let lanes: Int
    private let shared = Shared()
    private let threads: [pthread_t]

    /// - Parameter lanes: how many are wanted; fewer where the system refuses a thread, or the memory that a lane's products need.
    package init(lanes wanted: Int = ComputePool.processorCount) {
        let shared = self.shared
        // One is always there; where even its products cannot be had, the first of them says so.
        let possible = max(1, min(wanted, Int(ob_reserve(Int32(clamping: max(1, wanted))))))
        var threads: [pthread_t] = []
        for lane in 1..<max(1, possible) {
            let entry = unsafe Unmanaged.passRetained(Entry(shared: shared, lane: lane))
            var thread = pthread_t()
            let code = unsafe pthread_create(&thread, nil, { argument in
                let entry = unsafe Unmanaged<Entry>.fromOpaque(argument!).takeRetainedValue()
                entry.shared.work(lane: entry.lane)
                return nil
            }, entry.toOpaque())
            guard code == 0 else {
                unsafe entry.release()
                break
            }
            threads.append(thread)
        }
        self.threads = threads
        lanes = threads.count + 1
    }

    deinit {
        shared.stop()
        for thread in threads { pthread_join(thread, nil) }
    }

    /// Processors this process may use.
    package static var processorCount: Int { Processors.count(affinity: Int(ck_processor_count())) }

    /// Runs the body once per lane, lane 0 on this thread, and waits for all.
    package func run(_ body: (Int) -> Void) {
        guard lanes > 1 else { return body(0) }
        withoutActuallyEscaping(body) { body in
            shared.begin(body, helpers: lanes - 1)
            body(0)
            shared.waitForHelpers()
        }
    }

    /// Runs the body for each index, the indices dealt to the lanes in turn.
    package func forEach(_ count: Int, _ body: (Int) -> Void) {
        run { lane in
            for index in stride(from: lane, to: count, by: lanes) { body(index) }
        }
    }

    /// One contiguous share of `count` values per lane, cut at cache lines.
    package func share(of count: Int, lane: Int) -> Range<Int> {
        let each = (count + lanes - 1) / lanes
        let cut = { (k: Int) in min(count, (k * each + 15) / 16 * 16) }
        return cut(lane)..<max(cut(lane), lane == lanes - 1 ? count : cut(lane + 1))
    }
}

private final class Entry {
    let shared: Shared
    let lane: Int
    init(shared: Shared, lane: Int) {
        self.shared = shared
        self.lane = lane
    }
}

// @unchecked: the fields below the mutex are read and written while it is held.
@safe private final class Shared: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let started = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let finished = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var body: ((Int) -> Void)?
    private var round = 0
    private var pending = 0
    private var stopping = false

    init() {
        unsafe pthread_mutex_init(mutex, nil)
        unsafe pthread_cond_init(started, nil)
        unsafe pthread_cond_init(finished, nil)
    }

    deinit {
        unsafe pthread_cond_destroy(finished)
        unsafe pthread_cond_destroy(started)
        unsafe pthread_mutex_destroy(mutex)
        unsafe finished.deallocate()
        unsafe started.deallocate()
        unsafe mutex.deallocate()
    }

    func begin(_ body: @escaping (Int) -> Void, helpers: Int) {
        unsafe pthread_mutex_lock(mutex)
        self.body = body
        pending = helpers
        round += 1
        unsafe pthread_cond_broadcast(started)
        unsafe pthread_mutex_unlock(mutex)
    }

    func waitForHelpers() {
        unsafe pthread_mutex_lock(mutex)
        while pending > 0 { unsafe pthread_cond_wait(finished, mutex) }
        body = nil
        unsafe pthread_mutex_unlock(mutex)
    }

    func stop() {
        unsafe pthread_mutex_lock(mutex)
        stopping = true
        unsafe pthread_cond_broadcast(started)
        unsafe pthread_mutex_unlock(mutex)
    }

    func work(lane: Int) {
        var seen = 0
        while let round = takePart(after: seen, lane: lane) {
            seen = round
            unsafe pthread_mutex_lock(mutex)
            pending -= 1
            if pending == 0 { unsafe pthread_cond_signal(finished) }
            unsafe pthread_mutex_unlock(mutex)
        }
    }

    /// Waits for the round after `seen` and runs its body; nil when the pool stops. A function of its own, never inlined:
    /// its hold on the body must end before the caller reports the lane as finished, since the body does not escape `run`.
    @inline(never)
    private func takePart(after seen: Int, lane: Int) -> Int? {
        unsafe pthread_mutex_lock(mutex)
        while round == seen && !stopping { unsafe pthread_cond_wait(started, mutex) }
        let (round, body, isStopping) = (self.round, self.body, stopping)
        unsafe pthread_mutex_unlock(mutex)
        if isStopping { return nil }
        body?(lane)
        return round
    }
}
