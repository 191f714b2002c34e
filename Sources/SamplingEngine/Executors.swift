import Dispatch
import Synchronization

/// Threads of their own for what computes or blocks and is no network call: requests that are read, adapters that are loaded and
/// composed, pictures that are encoded.
///
/// So many at a time, and the rest in the order they came. Swift's cooperative pool has one thread per core and serves everybody:
/// what holds one of its threads holds up answers that need no work at all.
package final class WorkExecutor: TaskExecutor {
    package let name: String
    package let width: Int
    private let state: Mutex<State>
    private static let key = DispatchSpecificKey<String>()

    private struct State {
        var waiting: [UnownedJob] = []
        /// Waiting jobs before this one have begun.
        var first = 0
        /// Serial queues, each a thread while it has work; concurrent ones would share the pool's threads.
        var idle: [DispatchQueue]
    }

    /// - Parameter width: jobs at a time.
    package init(_ name: String, width: Int) {
        precondition(width > 0, "an executor of \(width) threads")
        self.name = name
        self.width = width
        let queues = (0..<width).map { _ in
            let queue = DispatchQueue(label: "difffit.\(name)")
            queue.setSpecific(key: Self.key, value: name)
            return queue
        }
        state = Mutex(State(idle: queues))
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let free = state.withLock { state in
            state.waiting.append(job)
            return state.idle.popLast()
        }
        guard let free else { return }
        free.async { self.work(on: free) }
    }

    /// Name of the executor whose thread this is; nil on every other thread.
    package static var current: String? { DispatchQueue.getSpecific(key: key) }

    /// Runs the body here, and what it awaits and does not run elsewhere.
    package func run<Value, Failure: Error>(_ body: () async throws(Failure) -> Value) async throws(Failure) -> Value {
        try await withTaskExecutorPreference(self, operation: body)
    }

    private func work(on queue: DispatchQueue) {
        while let job = next(queue) { unsafe job.runSynchronously(on: asUnownedTaskExecutor()) }
    }

    /// Jobs that wait, the first first; with none left the queue is idle.
    private func next(_ queue: DispatchQueue) -> UnownedJob? {
        state.withLock { state in
            guard state.first < state.waiting.count else {
                state.waiting.removeAll(keepingCapacity: true)
                state.first = 0
                state.idle.append(queue)
                return nil
            }
            defer { state.first += 1 }
            if state.first > 1024 {
                state.waiting.removeFirst(state.first)
                state.first = 0
            }
            return state.waiting[state.first]
        }
    }
}

/// The engine's own thread of work: its jobs run here one after the other, in the order they came, and never on the
/// cooperative pool, which a network call would block.
final class ComputeExecutor: SerialExecutor, TaskExecutor {
    private let queue = DispatchQueue(label: "difffit.compute", qos: .userInitiated)

    func enqueue(_ job: consuming ExecutorJob) {
        // The job is run exactly once, here; this object outlives it, since the queue's closure holds it.
        let job = UnownedJob(job)
        queue.async { unsafe job.runSynchronously(isolatedTo: self.asUnownedSerialExecutor(), taskExecutor: self.asUnownedTaskExecutor()) }
    }
}
