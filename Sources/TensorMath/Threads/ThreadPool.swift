import CKernels
import COpenBLAS
import Glibc
import Synchronization

/// A fixed set of compute threads, one per core; the caller is thread 0 and works too.
///
/// `run` hands every thread the same closure and returns when all have finished. It is not reentrant: one owner calls it.
package final class ThreadPool: Sendable {
    /// Threads that work, the caller among them.
    package let threadCount: Int
    private let shared = Shared()
    private let helpers: [pthread_t]

    /// - Parameter threads: how many are wanted; fewer where the system refuses a thread, or the memory that a thread's products need.
    package init(threads wanted: Int = ThreadPool.processorCount) {
        let shared = self.shared
        // One is always there; where even its products cannot be had, the first of them says so.
        let possible = max(1, min(wanted, Int(ob_reserve(Int32(clamping: max(1, wanted))))))
        var helpers: [pthread_t] = []
        for thread in 1..<max(1, possible) {
            let entry = unsafe Unmanaged.passRetained(Entry(shared: shared, thread: thread))
            var helper = pthread_t()
            let code = unsafe pthread_create(
                &helper, nil,
                { argument in
                    let entry = unsafe Unmanaged<Entry>.fromOpaque(argument!).takeRetainedValue()
                    entry.shared.work(thread: entry.thread)
                    return nil
                }, entry.toOpaque())
            guard code == 0 else {
                unsafe entry.release()
                break
            }
            helpers.append(helper)
        }
        self.helpers = helpers
        threadCount = helpers.count + 1
    }

    deinit {
        shared.stop()
        for helper in helpers { pthread_join(helper, nil) }
    }

    /// Processors this process may use.
    package static var processorCount: Int { Processors.count(affinity: Int(ck_processor_count())) }

    /// Runs the body once per thread, thread 0 on this thread, and waits for all.
    package func run(_ body: (Int) -> Void) {
        guard threadCount > 1 else { return body(0) }
        withoutActuallyEscaping(body) { body in
            shared.begin(body, helpers: threadCount - 1)
            body(0)
            shared.waitForHelpers()
        }
    }

    /// Runs the body for each index, the indices dealt to the threads in turn.
    package func forEach(_ count: Int, _ body: (Int) -> Void) {
        run { thread in
            for index in stride(from: thread, to: count, by: threadCount) { body(index) }
        }
    }

    /// One contiguous share of `count` values per thread, cut at cache lines.
    package func share(of count: Int, thread: Int) -> Range<Int> {
        let each = (count + threadCount - 1) / threadCount
        let cut = { (k: Int) in min(count, (k * each + 15) / 16 * 16) }
        return cut(thread)..<max(cut(thread), thread == threadCount - 1 ? count : cut(thread + 1))
    }
}

private final class Entry {
    let shared: Shared
    let thread: Int
    init(shared: Shared, thread: Int) {
        self.shared = shared
        self.thread = thread
    }
}

/// A thread's looking for a change before it sleeps: one image's layers are shared in short parts, and to wake up takes as long as one.
/// Where it was in vain, as on a machine with more work than processors, the next time is shorter.
private struct SpinWait {
    private static let most = Duration.microseconds(50)
    private var limit = most

    mutating func spin(until isDone: () -> Bool) {
        let end = ContinuousClock.now + limit
        repeat {
            for _ in 0..<64 {
                if isDone() { return limit = Self.most }
                ck_pause()
            }
        } while ContinuousClock.now < end
        limit /= 4
    }
}

// @unchecked: the fields below the mutex are read and written while it is held, `ownerWait` by the one thread that calls `run`.
@safe private final class Shared: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let started = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let finished = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var body: ((Int) -> Void)?
    /// Written while the mutex is held; looked at without it by who waits for a change, before it sleeps.
    private let round = Atomic(0), pending = Atomic(0)
    private var stopping = false
    private var ownerWait = SpinWait()

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
        pending.store(helpers, ordering: .relaxed)
        round.add(1, ordering: .relaxed)
        unsafe pthread_cond_broadcast(started)
        unsafe pthread_mutex_unlock(mutex)
    }

    func waitForHelpers() {
        ownerWait.spin { pending.load(ordering: .relaxed) == 0 }
        unsafe pthread_mutex_lock(mutex)
        while pending.load(ordering: .relaxed) > 0 { unsafe pthread_cond_wait(finished, mutex) }
        body = nil
        unsafe pthread_mutex_unlock(mutex)
    }

    func stop() {
        unsafe pthread_mutex_lock(mutex)
        stopping = true
        unsafe pthread_cond_broadcast(started)
        unsafe pthread_mutex_unlock(mutex)
    }

    func work(thread: Int) {
        var seen = 0, wait = SpinWait()
        while let round = takePart(after: seen, thread: thread, &wait) {
            seen = round
            unsafe pthread_mutex_lock(mutex)
            if pending.subtract(1, ordering: .relaxed).newValue == 0 { unsafe pthread_cond_signal(finished) }
            unsafe pthread_mutex_unlock(mutex)
        }
    }

    /// Waits for the round after `seen` and runs its body; nil when the pool stops. A function of its own, never inlined:
    /// its hold on the body must end before the caller reports the thread as finished, since the body does not escape `run`.
    @inline(never)
    private func takePart(after seen: Int, thread: Int, _ wait: inout SpinWait) -> Int? {
        wait.spin { self.round.load(ordering: .relaxed) != seen }
        unsafe pthread_mutex_lock(mutex)
        while self.round.load(ordering: .relaxed) == seen && !stopping { unsafe pthread_cond_wait(started, mutex) }
        let (round, body, isStopping) = (self.round.load(ordering: .relaxed), self.body, stopping)
        unsafe pthread_mutex_unlock(mutex)
        if isStopping { return nil }
        body?(thread)
        return round
    }
}
