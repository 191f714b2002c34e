import CoreMetrics
import SamplingEngine
import Synchronization

/// What the service counts, under the names of `/metrics`.
package final class ServiceMetrics: Sendable {
    package let registry: PrometheusRegistry
    /// Adapters that have a label of their own; a store that churns through names can not fill the memory.
    private let labels = Mutex<Set<String>>([])
    private static let labelLimit = 256

    package init(registry: PrometheusRegistry) { self.registry = registry }

    func count(finished order: GenerationOrder, _ times: RequestTimes) {
        requests(order.adapter.name, "finished").increment()
        time("difffit_queue_seconds", times.queue)
        time("difffit_swap_seconds", times.swap)
        time("difffit_sample_seconds", times.sample)
        time("difffit_decode_seconds", times.decode)
        time("difffit_request_seconds", times.queue + times.sample + times.decode)
        Recorder(label: "difffit_batch_rows", dimensions: [], aggregate: true, factory: registry).record(times.batchRows)
        Counter(label: "difffit_images_total", factory: registry).increment(by: order.count)
    }

    func count(ended order: GenerationOrder, _ error: ServiceError) {
        requests(order.adapter.name, error.reply.code).increment()
        if error == .cancelled { Counter(label: "difffit_cancelled_total", factory: registry).increment() }
    }

    /// A request that was answered with an error before the engine took it, or by the engine's refusal.
    func count(refusal error: ServiceError) {
        Counter(label: "difffit_rejected_total", dimensions: [("reason", error.reply.code)], factory: registry).increment()
        if case .storeUnreadable = error { Counter(label: "difffit_store_errors_total", factory: registry).increment() }
    }

    /// The engine's state, as gauges.
    func show(_ status: EngineStatus) {
        gauge("difffit_queue_depth", Double(status.queuedImages))
        gauge("difffit_queue_capacity", Double(status.queueCapacity))
        gauge("difffit_active_images", Double(status.activeImages))
        gauge("difffit_active_rows", Double(status.activeRows))
        gauge("difffit_row_capacity", Double(status.rowCapacity))
        gauge("difffit_batch_distinct_adapters", Double(status.distinctAdapters))
        gauge("difffit_steps_done", Double(status.stepsDone))
        gauge("difffit_last_step_seconds", status.lastStepSeconds)
        gauge("difffit_resident_bytes", Double(status.bankBytes))
        gauge("difffit_draining", status.draining ? 1 : 0)
    }

    /// The names in the store, also while nobody uses them.
    func show(adapters names: [String]) {
        gauge("difffit_adapters", Double(names.count))
    }

    func showBuild(_ origin: Origin) {
        Meter(
            label: "difffit_build_info", dimensions: [("version", origin.build), ("base_digest", origin.baseDigest.description)],
            factory: registry
        ).set(1)
    }

    static let help = [
        "difffit_requests_total": "Requests that the engine took, by adapter and how they ended.",
        "difffit_rejected_total": "Calls that were answered with an error, by its code.",
        "difffit_queue_depth": "Images that wait for a place in the batch.",
        "difffit_batch_rows": "Largest batch that a finished request was part of.",
        "difffit_batch_distinct_adapters": "Different adapters in the running batch.",
        "difffit_swap_seconds": "Time a request's adapter took to get into the bank.",
        "difffit_last_step_seconds": "Time of the last step.",
        "difffit_resident_bytes": "Bytes of the bank of adapters.",
    ]

    private func requests(_ adapter: String, _ outcome: String) -> Counter {
        Counter(label: "difffit_requests_total", dimensions: [("adapter", label(adapter)), ("outcome", outcome)], factory: registry)
    }

    private func label(_ adapter: String) -> String {
        labels.withLock { labels in
            if labels.contains(adapter) { return adapter }
            guard labels.count < Self.labelLimit else { return "other" }
            labels.insert(adapter)
            return adapter
        }
    }

    private func gauge(_ name: String, _ value: Double) { Meter(label: name, dimensions: [], factory: registry).set(value) }

    private func time(_ name: String, _ duration: Duration) {
        Timer(label: name, dimensions: [], factory: registry).recordNanoseconds(Int64(duration / .nanoseconds(1)))
    }
}
