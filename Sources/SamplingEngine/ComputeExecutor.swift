import Dispatch

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
