import AdapterComposer
import AdapterFormat
import AdapterStore
import Diffusion
import SamplingEngine
import SystemIO

/// The engine's and the store's refusals in the service's words.
extension ServiceError {
    init(submitting error: any Error) {
        switch error {
        case AdmissionError.queueFull(let seconds): self = .queueFull(retryAfter: seconds)
        case AdmissionError.clientShareFull(let seconds): self = .clientShareFull(retryAfter: seconds)
        case AdmissionError.composingFull: self = .composingFull("\(error)")
        case is CancellationError: self = .cancelled
        case AdmissionError.tooLarge(let cost, let limit): self = .tooCostly(cost: cost, limit: limit)
        case AdmissionError.tooManyImages(_, let limit):
            self = .badField(name: "n", reason: "at most \(limit, "image") \(limit == 1 ? "fits" : "fit") into the queue")
        case AdmissionError.tooManyRows, AdmissionError.tooManyAdapters, AdmissionError.mixedGrids, AdmissionError.gridOfLatents, AdmissionError.noNetwork:
            self = .badField(name: "model", reason: "\(error)")
        case AdmissionError.noDecoder: self = .badField(name: "decoder", reason: "\(error)")
        case AdmissionError.noNullRow: self = .badField(name: "guidance", reason: "\(error)")
        case AdmissionError.draining: self = .draining
        case let error as DiffusionError: self = .badField(name: "steps", reason: "\(error)")
        default: self = .failed(words(of: error))
        }
    }

    init(_ failure: SamplingFailure) {
        switch failure {
        case .deadlinePassed: self = .deadlinePassed
        case .cancelled: self = .cancelled
        case .noNetwork: self = .failed("\(failure)")
        }
    }

    init(binding error: any Error) {
        switch error {
        case SamplingDemandError.otherSteps: self = .badField(name: "steps", reason: "\(error)")
        case SamplingDemandError.offTheDial, SamplingDemandError.otherScale: self = .badField(name: "guidance_scale", reason: "\(error)")
        case SamplingDemandError.otherInterval: self = .badField(name: "guidance_interval", reason: "\(error)")
        case is SamplingDemandError: self = .badField(name: "guidance", reason: "\(error)")
        case SamplingEngineError.noSolverProfile: self = .badField(name: "sampler", reason: "\(error)")
        case StoreError.notFound: self = .adapterNotFound("\(error)")
        case StoreError.badName, StoreError.ambiguous, StoreError.incompatible: self = .badReference("\(error)")
        case is AdapterFormatError: self = .badReference("\(error).")
        case is SamplingEngineError: self = .badReference("\(error).")
        case AdmissionError.tooManyAdapters: self = .badField(name: "model", reason: "\(error)")
        case ComposerError.cancelled: self = .cancelled
        case ComposerError.noLabels: self = .badField(name: "labels_from", reason: "\(error)")
        case is ComposerError: self = .badField(name: "model", reason: "\(error)")
        default: self = .storeUnreadable(words(of: error))
        }
    }
}

extension SamplingService {
    /// A recipe with its adapters as they are now: a later change of the store does not touch them (law 3). Nothing but names and
    /// digests reaches the store (law 8): the recipe's grammar has no others.
    func bind(_ recipe: Recipe, strength: Double, labelsFrom: String?) throws(ServiceError) -> BoundRecipe {
        try counted {
            try catalogue.bind(recipe, strength: strength, labelsFrom: labelsFrom)
        } recipe: {
            $0
        }
    }

    /// The same with how it is sampled: what was asked for, and what the recipe demands.
    func settle(_ recipe: Recipe, _ asked: AskedSampling, strength: Double, labelsFrom: String?) throws(ServiceError) -> SettledSampling {
        try counted {
            try catalogue.settle(recipe, asked, strength: strength, labelsFrom: labelsFrom)
        } recipe: {
            $0.recipe
        }
    }

    private func counted<Bound>(_ bind: () throws -> Bound, recipe: (Bound) -> BoundRecipe) throws(ServiceError) -> Bound {
        do {
            let result = try bind(), bound = recipe(result)
            if bound.load > .zero { metrics.count(load: bound.load) }
            if bound.compose > .zero { metrics.count(compose: bound.compose) }
            return result
        } catch {
            metrics.count(storeFault: error)
            if case .notFound(let reference, _) = error as? StoreError, let name = pinnedName(reference), let now = try? catalogue.lookup(name) {
                throw .digestMismatch(
                    "The name '\(name)' stands for \(now.digest.short), and there is no adapter '\(reference.prefix(140))' in the store.")
            }
            throw ServiceError(binding: error)
        }
    }

    /// The profile of the composition itself, or a refusal; never another's.
    func cacheProfile(_ level: CacheLevel, _ recipe: BoundRecipe, _ sampling: BoundSampling) throws(ServiceError) -> [Bool]? {
        do {
            return try catalogue.cache(level, for: recipe, sampler: sampling.sampler, steps: sampling.steps)
        } catch {
            throw .badField(name: "cache", reason: "\(error)")
        }
    }

    private func pinnedName(_ reference: String) -> String? {
        if case .pinned(let name, _) = try? AdapterReference(reference) { name.description } else { nil }
    }
}
