import AdapterComposer
import AdapterFormat
import DiTModel
import DiTPipeline
import Diffusion
import ImageFiles
import Autoencoder
import TensorMath

/// Requests become batches become steps: the only owner of the model, the adapter slots and the latents.
///
/// One actor on its own thread. A step is one job, so requests are admitted and cancelled at the boundaries between steps and
/// nowhere else; images join and leave there, each with its own domain, timestep, guidance and seed. What runs next is decided
/// by `Scheduler`; this actor only does it.
package actor SamplingEngine {
    package nonisolated let base: BaseFile
    package nonisolated let convention: DiffusionConvention
    /// The arithmetic that runs: what was asked for, or what this machine has instead.
    package nonisolated let precision: Precision
    /// Side of its pictures in pixels; nil where it makes latents and has no autoencoder for them.
    package nonisolated let pictureSide: Int?
    /// What its pictures can be decoded by; none where latents are pictures, or stay latents.
    package nonisolated let decoders: [DecoderKind]
    private nonisolated let executor = ComputeExecutor()
    // The actor holds the executor as long as it lives.
    package nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

    private nonisolated let options: EngineOptions
    private let batch: StepBatch
    private let pictureMaker: PictureMaker?
    private var scheduler: Scheduler
    private var requests: [RequestID: RunningRequest] = [:]
    private var images: [RunningImage] = []
    /// Begun images that are not in the batch.
    private var aside: [Scheduler.ImageID: RunningImage] = [:]
    private var setAsides: UInt64 = 0, setAsidesTold: UInt64 = 0
    private var pendingPictures: [PendingPicture] = []
    private var isStepping = false
    private var waitingForIdle: [CheckedContinuation<Void, Never>] = []
    private var lastID: UInt64 = 0
    private var stepsDone: UInt64 = 0
    private var lastStep = Duration.zero
    /// Seconds of one row of a network call, a moving mean.
    private var rowSeconds = 0.0

    /// - Parameters:
    ///   - preset: nil takes what the base's card says.
    ///   - autoencoders: those of a base that makes latents; without any such a base only takes requests for latents alone.
    ///   - decoding: how their convolutions are computed; in bfloat16 unless the network runs in f32, where nothing is said.
    package init(
        _ base: BaseFile, options: EngineOptions = EngineOptions(), pool: ThreadPool, preset: Preset? = nil,
        autoencoders: BaseAutoencoders = BaseAutoencoders(), decoding: WeightForm? = nil
    ) throws {
        let preset = preset ?? Preset(base.card)
        self.base = base
        self.options = options
        let configuration = base.configuration
        convention = try DiffusionConvention(base)
        let precision = options.precision.fallback.precision
        self.precision = precision
        let rows = max(2, options.rows), slots = max(1, options.domains)
        scheduler = Scheduler(
            Scheduler.Limits(
                rows: rows, slots: slots, queueImages: options.queueImages, clientShare: options.clientShare,
                largestCost: options.largestCost))
        batch = try StepBatch(
            base, rows: rows, slots: slots, pool: pool, precision: precision, preset: preset, networkLimit: options.networkBytes)
        let maker = try PictureMaker(
            channels: configuration.inChannels, size: configuration.inputSize, autoencoders: autoencoders,
            decoding ?? .best(for: precision == .f32 ? .f32 : .bf16), preset: preset, pool: pool)
        pictureSide = maker?.side
        decoders = autoencoders.kinds
        pictureMaker = maker
    }

    /// Whether latents are pictures themselves.
    package nonisolated var isPixelSpace: Bool { base.configuration.inChannels == 3 }

    /// Largest cost of one request, in network rows.
    package nonisolated var largestCost: Int { options.largestCost }

    /// Network rows that composing a recipe is about as much work as.
    package nonisolated func rows(ofComposing recipe: Recipe) -> Int {
        let c = base.configuration
        // A block's four products take 12 D^2 multiplications a token; a value of a term takes as long as some tens of them.
        let row = 12 * c.hiddenSize * c.hiddenSize * c.depth * c.tokens, value = 64
        return (recipe.composingWork(values: base.layout.count) * value + row - 1) / row
    }

    /// Puts a request in the queue.
    /// - Throws: `AdmissionError`, `DiffusionError`; nothing of the request is then done.
    package func submit(_ request: SamplingRequest) throws -> SamplingTicket {
        let plan = try request.plan(convention, channels: base.configuration.inChannels, clips: isPixelSpace)
        try check(request, calls: plan.evaluations)
        lastID += 1
        let id = RequestID(number: lastID)
        let stepPlans = request.images.map { StepPlan($0, plan, base: base.digest) }
        let cost = request.composingCost + zip(stepPlans, request.images).reduce(0) { $0 + $1.0.cost * batch.weight(of: $1.1.grid) }
        let needs = zip(stepPlans, request.images).map {
            Scheduler.Need(adapters: $0.adapters(from: 0), rows: $0.rows(from: 0), weight: batch.weight(of: $1.grid))
        }
        let admission = scheduler.admit(
            Scheduler.Entry(
                id: id, client: request.client, images: needs, cost: cost, deadline: request.deadline, spent: request.composingCost,
                isJob: request.isJob))
        guard case .accepted(let position) = admission else { throw refusal(admission, request, cost: cost) }
        let (events, continuation) = AsyncStream.makeStream(of: SamplingEvent.self)
        continuation.onTermination = { [weak self] reason in
            guard case .cancelled = reason, let self else { return }
            // Heard between two steps, however busy the cooperative pool is.
            Task(executorPreference: self.executor) { await self.cancel(id) }
        }
        requests[id] = RunningRequest(request, plan: plan, stepPlans: stepPlans, events: continuation)
        wake()
        return SamplingTicket(id: id, position: position, events: events)
    }

    /// Takes a request out at the next step boundary; one that is done already is left alone.
    package func cancel(_ id: RequestID) {
        _ = scheduler.cancel(id)
        end(id, with: .failed(.cancelled))
    }

    /// Images ahead in the queue; nil once nothing of the request waits.
    package func position(of id: RequestID) -> Int? { scheduler.position(of: id) }

    /// Answered between two steps by the thread that takes them: no answer means that it is stuck.
    package func status() -> EngineStatus {
        EngineStatus(
            queuedImages: scheduler.waitingImages, queueCapacity: options.queueImages, activeImages: scheduler.activeImages,
            activeRows: scheduler.activeRows, rowCapacity: scheduler.limits.rows, setAsideImages: aside.count, setAsides: setAsides,
            distinctAdapters: scheduler.activeAdapters, stepsDone: stepsDone, lastStepSeconds: lastStep / .seconds(1),
            slotBytes: batch.slotBytes, otherSizes: batch.otherSizes, networkBytes: batch.networkBytes, draining: scheduler.isDraining)
    }

    /// Admits nothing more and returns when all that was admitted has ended.
    package func drain() async {
        scheduler.drain()
        guard !isIdle else { return }
        await withCheckedContinuation { waitingForIdle.append($0) }
    }

    /// Admits nothing more and cancels what is there. No thread works for the engine when it returns.
    package func stop() {
        scheduler.drain()
        for id in Array(requests.keys) { cancel(id) }
    }

    private var isIdle: Bool { scheduler.isIdle && pendingPictures.isEmpty }

    private func wake() {
        guard !isStepping else { return }
        isStepping = true
        Task { step() }
    }

    /// One step boundary and one network call. The next step is a job of its own: whoever called meanwhile goes first.
    private func step() {
        for action in scheduler.stepBoundary(now: .now) { perform(action) }
        guard !images.isEmpty else {
            guard isIdle else { return goOn() }
            isStepping = false
            for waiter in waitingForIdle { waiter.resume() }
            waitingForIdle = []
            return
        }
        let start = ContinuousClock.now
        let rows = batch.step(images)
        record(.now - start, rows: rows)
        for image in images {
            report(image, rows: rows)
            giveBack(image)
        }
        let done = images.filter(\.state.isFinished)
        images.removeAll(where: \.state.isFinished)
        for image in done { finish(image) }
        goOn()
    }

    /// The next job: a picture where any waits, then a step again, so that neither holds up the other for long.
    private func goOn() {
        Task {
            makePictures()
            step()
        }
    }

    /// Makes the first of the pictures that wait, or all of them where that costs nothing.
    private func makePictures() {
        while !pendingPictures.isEmpty {
            let pending = pendingPictures.removeFirst()
            deliver(pending)
            if pictureMaker?.decodes == true { break }
        }
    }

    private func deliver(_ pending: PendingPicture) {
        guard let request = requests[pending.request]?.request else { return }
        if let deadline = request.deadline, deadline <= .now { return end(pending.request, with: .failed(.deadlinePassed)) }
        let start = ContinuousClock.now
        let kind = request.decoder ?? DecoderKind.usual(among: decoders, forPreview: pending.isPreview)
        let picture = request.latentsOnly ? nil : pictureMaker?.picture(pending.latent, by: kind)
        requests[pending.request]?.deliver(pending, picture, took: .now - start)
        if case .image(_, isLast: true) = pending.kind { end(pending.request, with: .finished(requests[pending.request]?.times ?? RequestTimes())) }
    }

    private func perform(_ action: Scheduler.Action) {
        switch action {
        case .install(let digest, let slot, let id):
            guard requests[id] != nil else { return }
            let held = requests[id]?.request.images.lazy.flatMap(\.adapters).first { $0.key == digest }
            guard let adapter = held ?? (digest == base.digest ? BoundAdapter(base) : nil) else {
                preconditionFailure("request \(id) has no adapter \(digest)")
            }
            let start = ContinuousClock.now
            batch.install(adapter, slot: slot)
            let swap = ContinuousClock.now - start
            requests[id]?.times.swap += swap
            options.onSwap?(swap)
        case .start(let id, let slots): start(id, slots: slots)
        case .setAside(let id):
            guard let place = images.firstIndex(where: { $0.id == id }) else { preconditionFailure("image \(id) does not run") }
            aside[id] = images.remove(at: place)
            setAsides += 1
        case .resume(let id, let slots):
            guard var image = aside.removeValue(forKey: id) ?? images.firstIndex(where: { $0.id == id }).map({ images.remove(at: $0) }) else {
                preconditionFailure("image \(id) was never begun")
            }
            image.hold(slots)
            images.append(image)
        case .expire(let id): end(id, with: .failed(.deadlinePassed))
        }
    }

    private func start(_ id: Scheduler.ImageID, slots: [Int]) {
        // Gone where an earlier image of it could not be started.
        guard let request = requests[id.request] else { return }
        let grid = request.request.images[id.image].grid
        do {
            try batch.prepare(grid, keeping: Set((images + aside.values).map(\.order.grid)))
        } catch {
            _ = scheduler.cancel(id.request)
            return end(id.request, with: .failed(.noNetwork(size: batch.size(grid), reason: error.description)))
        }
        if let image = requests[id.request]?.start(id, slots: slots, batch) { images.append(image) }
    }

    private func record(_ duration: Duration, rows: Int) {
        stepsDone += 1
        lastStep = duration
        let seconds = duration / .seconds(1) / Double(rows)
        rowSeconds = rowSeconds == 0 ? seconds : 0.9 * rowSeconds + 0.1 * seconds
        options.onStep?(
            StepFacts(
                duration: duration, rows: rows, images: images.count, adapters: scheduler.activeAdapters, setAside: Int(setAsides - setAsidesTold)))
        setAsidesTold = setAsides
    }

    private func report(_ image: RunningImage, rows: Int) {
        for number in requests[image.id.request]?.report(image, rows: rows) ?? [] {
            pendingPictures.append(
                PendingPicture(
                    request: image.id.request, image: image.id.image, kind: .preview(number: number), latent: image.state.predictedData.array))
        }
    }

    /// What no later call of the image needs is free for others at the next step boundary.
    private func giveBack(_ image: RunningImage) {
        let position = image.state.position
        guard image.stepPlan.mayGiveBack(at: position) else { return }
        scheduler.keep(image.id, adapters: image.stepPlan.adapters(from: position), rows: image.stepPlan.rows(from: position))
    }

    private func finish(_ image: RunningImage) {
        pendingPictures.append(
            PendingPicture(
                request: image.id.request, image: image.id.image,
                kind: .image(digest: image.order.stages[0].parts[0].adapter.digest, isLast: scheduler.finish(image.id)), latent: image.state.latent.array))
    }

    private func end(_ id: RequestID, with event: SamplingEvent) {
        images.removeAll { $0.id.request == id }
        for image in aside.keys where image.request == id { aside[image] = nil }
        pendingPictures.removeAll { $0.request == id }
        guard let request = requests.removeValue(forKey: id) else { return }
        request.events.yield(event)
        request.events.finish()
    }

    /// Refuses what a table without a null row cannot give: guidance by it, and images or blends that lean on it.
    private func checkNullRows(of order: ImageOrder) throws(AdmissionError) {
        let isGuided = order.guidance.kind != .none && order.guidance.scale != 1
        if isGuided, order.guidance.kind == .domain, !base.classes.hasNullRow { throw .noNullRow(adapter: base.card.name, isBase: true) }
        for part in order.stages.flatMap(\.parts) {
            let table = part.adapter.classes
            let leans = isGuided && order.guidance.kind == .cfg && !table.hasNullRow
            guard !leans, table.row(part.classIndex).allSatisfy(\.isFinite) else {
                throw .noNullRow(adapter: part.adapter.name, isBase: !base.classes.hasNullRow)
            }
        }
    }

    private func check(_ request: SamplingRequest, calls: Int) throws(AdmissionError) {
        guard !request.images.isEmpty else { throw .noImages }
        guard pictureMaker != nil || request.latentsOnly else { throw .noAutoencoder(channels: base.configuration.inChannels) }
        if let decoder = request.decoder, !decoders.contains(decoder) { throw .noDecoder(decoder, has: decoders) }
        for order in request.images {
            if let cache = order.cache, cache.count != calls || order.stages.count > 1 || order.stages[0].parts.count > 1 {
                throw .otherCache(calls: cache.count, wanted: calls)
            }
            for part in order.stages.flatMap(\.parts) {
                let adapter = part.adapter
                let wanted = base.layout.over(adapter.vector.lowRank).count
                guard adapter.vector.values.count == wanted else {
                    throw .otherLayout(adapter: adapter.name, values: adapter.vector.values.count, wanted: wanted)
                }
                guard (0..<adapter.classes.rows).contains(part.classIndex) else {
                    throw .noSuchClass(index: part.classIndex, adapter: adapter.name, classes: adapter.classes.names.count)
                }
            }
            try checkNullRows(of: order)
            if let other = order.adapters.first(where: { $0.grid != order.grid }) {
                throw .mixedGrids(first: order.adapters[0].name, second: other.name)
            }
            if let grid = order.grid, pictureMaker?.decodes == true, !request.latentsOnly {
                throw .gridOfLatents(adapter: order.adapters[0].name, size: grid.size)
            }
            if let reason = batch.refusal(of: order.grid, limit: options.networkBytes) {
                throw .noNetwork(adapter: order.adapters[0].name, size: batch.size(order.grid), reason: reason)
            }
            if let given = order.given, !given.steps.isEmpty, given.steps.count < calls {
                throw .tooLittleNoise(calls: given.steps.count, wanted: calls)
            }
            let wanted = batch.latentCount(order.grid)
            for values in order.given.map({ [$0.start] + $0.steps }) ?? [] where values.count != wanted {
                throw .wrongNoise(values: values.count, wanted: wanted)
            }
        }
    }

    private func refusal(_ admission: Scheduler.Admission, _ request: SamplingRequest, cost: Int) -> AdmissionError {
        // At most what is admitted already has to be computed first.
        let seconds = Int((Double(scheduler.outstandingCost) * rowSeconds).rounded(.up))
        let wait = min(max(seconds, 1), 3600)
        switch admission {
        case .queueFull: return .queueFull(retryAfterSeconds: wait)
        case .clientShareFull: return .clientShareFull(retryAfterSeconds: wait)
        case .tooLarge(let limit): return .tooLarge(cost: cost, limit: limit)
        case .tooManyImages(let limit): return .tooManyImages(count: request.images.count, limit: limit)
        case .tooManyRows(let rows, let limit): return .tooManyRows(rows: rows, limit: limit)
        case .tooManyAdapters(let count, let limit): return .tooManyAdapters(count: count, limit: limit)
        case .draining, .accepted: return .draining
        }
    }
}

/// What keeps an adapter from an engine.
package enum SamplingEngineError: Error, Sendable, Hashable, CustomStringConvertible {
    case otherBase(adapter: String, base: Digest, wanted: Digest)
    case denseBase(adapter: String, base: Digest, sparse: Digest)
    case otherAutoencoder(file: String, channels: Int, wanted: Int)
    case otherPictures(file: String, pixels: Int, wanted: Int)
    case noDecoder(DecoderKind, has: [DecoderKind])
    case noManifest(adapter: String)
    case noDomain(adapter: String, role: String)
    case noSolverProfile(recipe: String, steps: Int?, guidance: ImageGuidance?, has: [String])
    case noCacheProfile(recipe: String, level: CacheLevel, sampler: Sampler, steps: Int, has: [String])

    package var description: String {
        switch self {
        case .otherBase(let adapter, let base, let wanted): "'\(adapter)' belongs to the base \(base.short), not to \(wanted.short)"
        case .denseBase(let adapter, let base, let sparse): BaseFile.denseRefusal(of: adapter, base: base.short, sparse: sparse.short)
        case .noCacheProfile(let recipe, let level, let sampler, let steps, let has):
            "'\(recipe)' was not calibrated for the cache '\(level.rawValue)' with \(sampler.rawValue) in \(steps, "step")"
                + (has.isEmpty ? "; adapterctl calibrate measures a stored adapter" : ": it has \(has.joined(separator: ", "))")
        case .noSolverProfile(let recipe, let steps, let guidance, let has):
            "'\(recipe)' has no fitted solver" + (steps.map { " of \($0, "step")" } ?? "") + (guidance.map { " for guidance \($0)" } ?? "")
                + (has.isEmpty ? "; adapterctl fit makes one for a stored adapter" : ": it has those of \(has.joined(separator: ", "))")
        case .otherAutoencoder(let file, let channels, let wanted):
            "the autoencoder '\(file)' decodes latents of \(channels, "channel") to pictures; this base makes latents of \(wanted)"
        case .otherPictures(let file, let pixels, let wanted):
            "the tiny autoencoder '\(file)' makes \(pixels, "pixel") of one latent pixel along a side; this base's autoencoder makes \(wanted)"
        case .noDecoder(let decoder, let has): decoder.absence(has)
        case .noDomain(let adapter, let role): "'\(adapter)' is no domain but a vector for \(role), which is added to one: name a domain"
        case .noManifest(let adapter): "the manifest of '\(adapter)' cannot be read, so it can not be composed; add the adapter anew"
        }
    }
}
