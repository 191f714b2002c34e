import AdapterFormat
import AdapterStore
import Diffusion
import SamplingEngine

/// The engine's and the store's refusals in the service's words.
extension ServiceError {
    init(submitting error: any Error) {
        switch error {
        case Refusal.queueFull(let seconds): self = .queueFull(retryAfter: seconds)
        case Refusal.clientShareFull(let seconds): self = .clientShareFull(retryAfter: seconds)
        case Refusal.tooLarge(let cost, let limit): self = .tooCostly(cost: cost, limit: limit)
        case Refusal.tooManyImages(_, let limit): self = .badField(name: "n", reason: "at most \(limit) images fit into the queue")
        case Refusal.draining: self = .draining
        case let error as DiffusionError: self = .badField(name: "steps", reason: "\(error)")
        default: self = .failed("\(error)")
        }
    }

    init(_ failure: SamplingFailure) {
        switch failure {
        case .deadlinePassed: self = .deadlinePassed
        case .cancelled: self = .cancelled
        }
    }

    init(binding error: any Error) {
        switch error {
        case StoreError.notFound: self = .adapterNotFound("\(error)")
        case StoreError.badName, StoreError.ambiguous, StoreError.incompatible: self = .badReference("\(error)")
        case is AdapterFormatError: self = .badReference("\(error).")
        case is SamplingEngineError: self = .badReference("\(error).")
        default: self = .storeUnreadable("\(error)")
        }
    }
}

extension SamplingService {
    /// The adapter behind a reference, as it is now: a later change of the store does not touch it (law 3).
    func bind(_ reference: String) throws(ServiceError) -> BoundAdapter {
        do {
            // Read here as well, so that nothing but a name or a digest ever reaches the store (law 8).
            if reference != "base" { _ = try AdapterReference(reference) }
            let binding = try catalogue.bind(reference)
            if !binding.wasResident { metrics.count(load: binding.load) }
            return binding.adapter
        } catch {
            metrics.count(storeFault: error)
            if case .notFound = error as? StoreError, let name = pinnedName(reference), let now = try? catalogue.store.lookup(name) {
                throw .digestMismatch(
                    "The name '\(name)' stands for \(now.digest.short), and there is no adapter '\(reference.prefix(140))' in the store.")
            }
            throw ServiceError(binding: error)
        }
    }

    private func pinnedName(_ reference: String) -> String? {
        if case .pinned(let name, _) = try? AdapterReference(reference) { name.description } else { nil }
    }
}
