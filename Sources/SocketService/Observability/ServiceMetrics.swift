import AdapterFormat
import AdapterStore
import CoreMetrics
import SamplingEngine
import Synchronization

/// What the service counts, under the names of `/metrics`.
package final class ServiceMetrics: Sendable {
    package let registry: PrometheusRegistry
    /// Adapters that have a label of their own; a store that churns through names can not fill the memory.
    private let labels = Mutex<Set<String>>([])
    private static let labelLimit = 256

    /// What the engine reports from its own thread; looked up once.
    private let step, swap, load, compose: Timer
    private let swaps, setAsides: Counter
    private let rows, adapters: Recorder

    package init(registry: PrometheusRegistry) {
        self.registry = registry
        step = Timer(label: "difffit_step_seconds", dimensions: [], factory: registry)
        swap = Timer(label: "difffit_swap_seconds", dimensions: [("kind", "resident")], factory: registry)
        load = Timer(label: "difffit_swap_seconds", dimensions: [("kind", "store")], factory: registry)
        compose = Timer(label: "difffit_swap_seconds", dimensions: [("kind", "compose")], factory: registry)
        swaps = Counter(label: "difffit_swaps_total", dimensions: [], factory: registry)
        setAsides = Counter(label: "difffit_set_aside_total", dimensions: [], factory: registry)
        rows = Recorder(label: "difffit_batch_rows", dimensions: [], aggregate: true, factory: registry)
        adapters = Recorder(label: "difffit_batch_distinct_adapters", dimensions: [], aggregate: true, factory: registry)
    }

    /// One network call of the engine.
    package func count(_ facts: StepFacts) {
        step.recordNanoseconds(Int64(facts.duration / .nanoseconds(1)))
        rows.record(facts.rows)
        adapters.record(facts.adapters)
        if facts.setAside > 0 { setAsides.increment(by: facts.setAside) }
    }

    /// One adapter slot overwritten.
    package func count(swap duration: Duration) {
        swap.recordNanoseconds(Int64(duration / .nanoseconds(1)))
        swaps.increment()
    }

    /// One adapter read from the store.
    func count(load duration: Duration) { load.recordNanoseconds(Int64(duration / .nanoseconds(1))) }

    /// One recipe composed.
    func count(compose duration: Duration) { compose.recordNanoseconds(Int64(duration / .nanoseconds(1))) }

    func count(finished order: GenerationOrder, _ times: RequestTimes) {
        requests(order.metricsLabel, "finished").increment()
        time("difffit_queue_seconds", times.queue)
        time("difffit_sample_seconds", times.sample)
        time("difffit_decode_seconds", times.decode)
        time("difffit_request_seconds", times.queue + times.sample + times.decode)
        let distilled = order.recipe.solver != nil ? "steps" : order.recipe.folded != nil ? "guidance" : "no"
        Counter(label: "difffit_images_total", dimensions: [("distilled", distilled)], factory: registry).increment(by: order.count)
    }

    /// - Parameter hadStarted: whether it was in the batch already, or still in the queue.
    func count(ended order: GenerationOrder, _ error: ServiceError, hadStarted: Bool) {
        requests(order.metricsLabel, error.reply.code).increment()
        guard error == .cancelled else { return }
        Counter(label: "difffit_cancelled_total", dimensions: [("stage", hadStarted ? "running" : "queued")], factory: registry).increment()
    }

    /// A call that was answered with an error before the engine took it, or by the engine's refusal.
    func count(refusal error: ServiceError) {
        // These end a request that was taken, and are counted there.
        if [.clientLeft, .cancelled, .stopped, .deadlinePassed].contains(error) { return }
        Counter(label: "difffit_rejected_total", dimensions: [("reason", error.reply.code)], factory: registry).increment()
    }

    /// What the store answered, where that is more than a wrong name.
    func count(storeFault error: any Error) {
        let kind: String
        switch error as? StoreError {
        case .damaged, .digestMismatch:
            kind = "integrity"
            Counter(label: "difffit_integrity_failures_total", factory: registry).increment()
        case nil, .notFound, .badName, .ambiguous, .incompatible: return
        case .permission: kind = "permission"
        case .storeReplaced, .noStore: kind = "replaced"
        default: kind = "system"
        }
        Counter(label: "difffit_store_errors_total", dimensions: [("kind", kind)], factory: registry).increment()
    }

    /// The engine's state, as gauges.
    func show(_ status: EngineStatus) {
        gauge("difffit_queue_depth", Double(status.queuedImages))
        gauge("difffit_queue_capacity", Double(status.queueCapacity))
        gauge("difffit_active_images", Double(status.activeImages))
        gauge("difffit_active_rows", Double(status.activeRows))
        gauge("difffit_set_aside_images", Double(status.setAsideImages))
        gauge("difffit_other_sizes", Double(status.otherSizes))
        gauge("difffit_network_bytes", Double(status.networkBytes))
        gauge("difffit_row_capacity", Double(status.rowCapacity))
        gauge("difffit_last_step_seconds", status.lastStepSeconds)
        gauge("difffit_bank_bytes", Double(status.slotBytes))
        gauge("difffit_draining", status.draining ? 1 : 0)
    }

    /// Recipes that are composed, and that wait for it.
    func show(composing load: (running: Int, waiting: Int)) {
        gauge("difffit_composing", Double(load.running))
        gauge("difffit_composing_queue", Double(load.waiting))
    }

    /// The adapters in the store, each also while nobody uses it: 1 where its values are in memory.
    func show(_ entries: [AdapterEntry], resident: Set<Digest>, bytes: Int, version: UInt64?) {
        gauge("difffit_adapters", Double(entries.count))
        gauge("difffit_adapters_resident", Double(resident.count))
        gauge("difffit_resident_bytes", Double(bytes))
        if let version { gauge("difffit_store_version", Double(version)) }
        registry.remove("difffit_adapter_resident")
        for entry in entries.prefix(Self.labelLimit) {
            let labels = [("adapter", entry.name ?? entry.digest.short)]
            Meter(label: "difffit_adapter_resident", dimensions: labels, factory: registry).set(resident.contains(entry.digest) ? 1 : 0)
        }
    }

    func showBuild(_ origin: Origin) {
        Meter(
            label: "difffit_build_info",
            dimensions: [("version", origin.build), ("base_digest", origin.baseDigest.description), ("precision", origin.precision)],
            factory: registry
        ).set(1)
    }

    static let help = [
        "difffit_requests_total": "Requests that the engine took, by adapter and how they ended.",
        "difffit_rejected_total": "Calls that were answered with an error, by its code.",
        "difffit_queue_depth": "Images that wait for a place in the batch.",
        "difffit_set_aside_total": "Times that a begun image gave way to others; it goes on where it was.",
        "difffit_set_aside_images": "Begun images that others run before now.",
        "difffit_other_sizes": "Sizes of images, beside the base's own, that a network is held for.",
        "difffit_composing_queue": "Recipes that wait to be composed.",
        "difffit_batch_rows": "Rows of each network call.",
        "difffit_batch_distinct_adapters": "Different adapters in each network call.",
        "difffit_step_seconds": "Time of each network call.",
        "difffit_swap_seconds": "Hot swaps: overwriting an adapter slot (resident), and before that reading from the store (store) and composing (compose).",
        "difffit_resident_bytes": "Bytes of the adapters in memory.",
        "difffit_bank_bytes": "Bytes of the adapter slots.",
        "difffit_store_version": "The store's generation, raised by every change.",
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
