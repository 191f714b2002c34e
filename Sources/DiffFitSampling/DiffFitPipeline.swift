import AdapterComposer
import AdapterFormat
import AdapterStore
import Diffusion
import SamplingEngine
import TensorMath

/// Samples pictures of any domain of one frozen base, several domains in one batch.
///
/// The base is loaded once. A domain costs its adapter's values in memory from its first use on, and a swap between two calls of the
/// network, never a second load of the base. Calls may run at the same time: their pictures share batches, and each gets the bytes that
/// it has alone (on one machine, at one precision).
public final class DiffFitPipeline: Sendable {
    /// What it samples from.
    public let base: DiffFitBase
    /// The arithmetic that runs: what was asked for, or `.f32` where this machine does not have it.
    public var precision: Precision { engine.precision }
    private let engine: SamplingEngine
    private let catalogue: AdapterCatalogue
    // Reading and composing adapters blocks, which Swift's cooperative pool must not.
    private let reading = WorkExecutor("adapters", width: 1)

    /// Loads a base of a store, with the store's adapters as its domains; what other programs change in the store is seen at the next call.
    /// Blocks while the weights are packed.
    /// - Parameters:
    ///   - base: as `DiffFitBase(_:in:)` takes it.
    ///   - threads: that compute; nil is one for each processor that the process may use.
    /// - Throws: `StoreError`; `DiffFitError` of the kind `incompatible`.
    public convenience init(store: AdapterStore, base: String? = nil, precision: Precision = .auto, threads: Int? = nil) throws {
        try self.init(DiffFitBase(base, in: store), store: store, precision: precision, threads: threads)
    }

    /// Loads an opened base. Blocks while the weights are packed.
    /// - Parameters:
    ///   - store: whose adapters are its domains; nil leaves it with those that `loadAdapter` gives it.
    ///   - threads: that compute; nil is one for each processor that the process may use.
    /// - Throws: `DiffFitError` of the kind `incompatible`.
    public init(_ base: DiffFitBase, store: AdapterStore? = nil, precision: Precision = .auto, threads: Int? = nil) throws {
        self.base = base
        (engine, catalogue) = try DiffFitError.translating {
            let engine = try SamplingEngine(
                base.file, options: .unbounded(at: precision), pool: ThreadPool(threads: max(1, threads ?? ThreadPool.processorCount)),
                autoencoders: base.autoencoders)
            return (engine, try AdapterCatalogue(store, base: base.file))
        }
    }

    /// Reads an adapter file of the base, which is a domain of this pipeline from now on and goes before an equal name in the store.
    /// - Parameters: as `AdapterStore.addAdapter` has them.
    /// - Returns: the content's digest.
    /// - Throws: `TensorFileError`; `DiffFitError` where the name is none or the file is not of this base.
    @discardableResult
    public func loadAdapter(path: String, as name: String, onRemark: (@Sendable (String) -> Void)? = nil) throws -> Digest {
        try DiffFitError.translating {
            let adapter = try AdapterFile.read(path: path, base: base.file, as: .remarking(onRemark))
            try catalogue.insert(adapter, as: name)
            return adapter.digest
        }
    }

    /// The classes of a domain or a recipe, in the order of its table.
    /// - Throws: `StoreError.notFound` with the nearest names; `DiffFitError` for a recipe that is none.
    public func classNames(of domain: String) throws -> [String] {
        try DiffFitError.translating { try catalogue.bind(Recipe(domain)).classNames }
    }

    /// Samples pictures of one domain.
    /// - Parameters:
    ///   - numInferenceSteps: steps of the sampler; nil is 40, or what a recipe of step vectors is for.
    ///   - sampler: nil is the usual one of the base: DDIM, or AB2 for a rectified flow.
    ///   - decoder: one of the base's `decoders`; nil is the full one, or what there is.
    ///   - others: as `ImageRequest` has them.
    ///   - onProgress: told after each network call; it runs on the caller's task.
    /// - Returns: `count` pictures in order.
    /// - Throws: as `sample(_:numInferenceSteps:sampler:decoder:onProgress:)`.
    public func sample(
        _ domain: String, class className: String? = nil, count: Int = 1, seed: UInt64 = 1, numInferenceSteps: Int? = nil, guidanceScale: Float? = nil,
        guidance: GuidanceKind = .cfg, sampler: Sampler? = nil, decoder: DecoderKind? = nil,
        onProgress: @Sendable (SamplingProgress) -> Void = { _ in }
    ) async throws -> [SampledImage] {
        let request = ImageRequest(domain, class: className, count: count, seed: seed, guidanceScale: guidanceScale, guidance: guidance)
        return try await sample([request], numInferenceSteps: numInferenceSteps, sampler: sampler, decoder: decoder, onProgress: onProgress)
    }

    /// Samples pictures of several domains and classes, together in the same network calls.
    ///
    /// A cancelled task gives up its pictures before the next network call.
    /// - Parameters:
    ///   - numInferenceSteps: steps of the sampler; nil is 40, or what a recipe of step vectors is for.
    ///   - sampler: nil is the usual one of the base: DDIM, or AB2 for a rectified flow.
    ///   - decoder: one of the base's `decoders`; nil is the full one, or what there is.
    ///   - onProgress: told after each network call; it runs on the caller's task.
    /// - Returns: the pictures of each request in order, one request after the other.
    /// - Throws: `CancellationError`; `StoreError.notFound` for a domain that there is none of, with the nearest names; `DiffFitError`:
    ///   `notFound` for a class, `invalidRequest` for a recipe, a count, a number of steps or a sampler, `incompatible` for an adapter of
    ///   another base, or a base of latents without its autoencoder.
    public func sample(
        _ requests: [ImageRequest], numInferenceSteps: Int? = nil, sampler: Sampler? = nil, decoder: DecoderKind? = nil,
        onProgress: @Sendable (SamplingProgress) -> Void = { _ in }
    ) async throws -> [SampledImage] {
        do {
            let chosen = try await reading.run { try requests.flatMap { try bind($0, sampler, steps: numInferenceSteps, decoder) } }
            guard let first = chosen.first else { return [] }
            if let other = chosen.first(where: { $0.sampling.steps != first.sampling.steps || $0.sampling.solver != first.sampling.solver }) {
                throw DiffFitError(
                    .invalidRequest, "'\(first.text.adapter)' and '\(other.text.adapter)' are for other steps of a sampler: sample them in two calls")
            }
            var request = SamplingRequest(client: "library", images: chosen.map(\.order), sampler: first.sampling.sampler, steps: first.sampling.steps)
            (request.solver, request.decoder) = (first.sampling.solver, decoder)
            let result = try await engine.sample(request) { event in
                if case .progress(let step, let count) = event { onProgress(SamplingProgress(step: step, total: count)) }
            }
            return zip(result.images, chosen).compactMap { image, chosen in
                image.picture.map { SampledImage($0, chosen.text, chosen.digest) }
            }
        } catch { throw DiffFitError.translated(error) }
    }

    /// A picture of a request, and what is said of it.
    private struct ChosenImage {
        let order: ImageOrder
        let sampling: BoundSampling
        let text: PictureText
        let digest: Digest
    }

    /// A request with its adapters read and composed, picture by picture.
    private func bind(_ request: ImageRequest, _ sampler: Sampler?, steps: Int?, _ decoder: DecoderKind?) throws -> [ChosenImage] {
        guard (1...4096).contains(request.count) else { throw DiffFitError(.invalidRequest, "a count is between 1 and 4096, not \(request.count)") }
        guard (request.guidanceScale ?? 1).isFinite, request.guidanceScale ?? 0 >= 0 else {
            throw DiffFitError(.invalidRequest, "a guidance scale is a number from 0, not \(request.guidanceScale ?? 1)")
        }
        let isUsual = request.guidance == .cfg && request.guidanceScale == nil
        let asked = AskedSampling(sampler: sampler, steps: steps, kind: isUsual ? nil : request.guidance, scale: request.guidanceScale)
        let settled = try catalogue.settle(Recipe(request.domain), asked)
        let (recipe, how) = (settled.recipe, settled.sampling)
        return try recipe.orders(class: request.className, count: request.count, seed: request.seed, guidance: how.guidance).map { classed in
            let text = PictureText(
                recipe, className: classed.className, labelsFrom: nil, strength: 1, seed: request.seed, index: classed.order.index, sampler: how.sampler,
                steps: how.steps, guidance: how.guidance, cache: .exact, decoder: decoder ?? .usual(among: engine.decoders),
                base: base.digest, precision: engine.precision.rawValue)
            return ChosenImage(order: classed.order, sampling: how, text: text, digest: recipe.digest)
        }
    }
}
