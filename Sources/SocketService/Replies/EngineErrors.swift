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
        if let error = error as? SamplingEngineError {
            self = .badReference("\(error).")
            return
        }
        switch error as? StoreError {
        case .notFound(let reference, _) where reference.contains("@"): self = .digestMismatch("\(error)")
        case .notFound: self = .adapterNotFound("\(error)")
        case .badName, .ambiguous: self = .badReference("\(error)")
        case .incompatible: self = .badReference("\(error)")
        default: self = .storeUnreadable("\(error)")
        }
    }
}

extension SamplingService {
    /// The adapter behind a reference, as it is now: a later change of the store does not touch it (law 3).
    func bind(_ reference: String) throws(ServiceError) -> BoundAdapter {
        do {
            let binding = try catalogue.bind(reference)
            if !binding.wasResident { metrics.count(load: binding.load) }
            return binding.adapter
        } catch {
            throw ServiceError(binding: error)
        }
    }
}
