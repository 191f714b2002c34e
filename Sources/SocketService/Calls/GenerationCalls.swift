import AdapterComposer
import AdapterFormat
import Diffusion
import Hummingbird
import NIOCore
import SamplingEngine

extension SamplingService {
    /// `POST /v1/images/generations`: waits for the pictures, or streams them. Dies with its connection.
    func generate(_ call: Call) async throws(ServiceError) -> Response {
        let order = try await order(call)
        if order.partialImages > 0, !order.isStreamed { throw .badField(name: "partial_images", reason: "they come in a stream only: give \"stream\": true") }
        let generation = try await submit(order, call)
        call.connection.whenPeerLeaves { [engine] in
            Task { await engine.cancel(generation.ticket.id) }
        }
        if order.isStreamed { return stream(generation.follow(), size: order.size, of: call) }
        defer { call.connection.whenPeerLeaves(nil) }
        do throws(ServiceError) {
            return Response(json: try await generation.reply(size: order.size))
        } catch {
            throw call.connection.hasLeft ? .clientLeft : error
        }
    }

    /// A body becomes an order: nothing about it can change after this.
    func order(_ call: Call) async throws(ServiceError) -> GenerationOrder {
        let request = try GenerationRequest(body: await call.body(limit: capabilities.limits.bodyBytes), limits: capabilities.limits)
        let cost = try composingCost(request)
        return try await composed(cost, request.user, call) { () throws(ServiceError) in
            // 53 bits, so that a browser shows the same number.
            try GenerationOrder(
                request, capabilities: capabilities, seed: .random(in: 0..<(1 << 53)), composingCost: cost, settle: settle, profile: cacheProfile)
        }
    }

    /// What composing a request's recipe takes, in network rows; within the limits, and found before anything is done.
    private func composingCost(_ request: GenerationRequest) throws(ServiceError) -> Int {
        let recipe = try request.recipe(capabilities.limits)
        let isPlain = recipe.only != nil && request.strength ?? 1 == 1 && request.labelsFrom == nil && request.guidance != GuidanceKind.distilled.rawValue
        return isPlain ? 0 : try composingCost(recipe)
    }

    func composingCost(_ recipe: Recipe) throws(ServiceError) -> Int {
        let (all, merged) = recipe.termCounts, limits = capabilities.limits
        guard all <= limits.recipeTerms else { throw .tooManyTerms(all, limit: limits.recipeTerms, setting: "recipe_terms") }
        guard merged <= limits.mergeTerms else { throw .tooManyTerms(merged, limit: limits.mergeTerms, setting: "merge_terms") }
        let cost = engine.rows(ofComposing: recipe)
        guard cost <= engine.largestCost else { throw .tooCostly(cost: cost, limit: engine.largestCost) }
        return cost
    }

    /// Runs what composes a recipe when it is the client's turn, and no longer than the client stays. What costs nothing runs here.
    func composed<Value: Sendable>(
        _ cost: Int, _ user: String?, _ call: Call, _ work: @escaping @Sendable () throws(ServiceError) -> Value
    ) async throws(ServiceError) -> Value {
        if cost == 0 { return try work() }
        let client = call.connection.client(user: user, ownUser: SystemCalls.ownUser)
        let task = Task { try await composing.run(client: client, cost: cost, work) }
        call.connection.whenPeerLeaves { task.cancel() }
        defer { call.connection.whenPeerLeaves(nil) }
        do {
            return try await withTaskCancellationHandler {
                try await task.value
            } onCancel: {
                task.cancel()
            }
        } catch {
            throw call.connection.hasLeft ? .clientLeft : error as? ServiceError ?? ServiceError(submitting: error)
        }
    }

    /// Admission: the engine takes all images of the order or refuses them.
    func submit(_ order: GenerationOrder, _ call: Call, isJob: Bool = false) async throws(ServiceError) -> Generation {
        let client = call.connection.client(user: order.user, ownUser: SystemCalls.ownUser)
        do {
            let ticket = try await engine.submit(order.request(client: client, isJob: isJob, now: .now))
            return Generation(order: order, ticket: ticket, origin: origin, metrics: metrics, logger: call.logger, ending: ending, work: work)
        } catch {
            throw ServiceError(submitting: error)
        }
    }

    /// Server-sent events until the last one, with a comment now and then while nothing happens.
    func stream(_ events: AsyncStream<GenerationEvent>, size: String, of call: Call) -> Response {
        let (interval, work) = (options.pingEvery, work)
        let body = ResponseBody { writer in
            defer { call.connection.whenPeerLeaves(nil) }
            for await event in withPings(events, every: interval) {
                try await writer.write(await work.run { event?.serverSentEvent(size: size) ?? pingComment })
            }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok, headers: [.contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-store"], body: body)
    }
}

extension GenerationOrder {
    /// What the engine is asked for.
    func request(client: String, isJob: Bool, now: ContinuousClock.Instant) -> SamplingRequest {
        let images = (0..<count).map { position -> ImageOrder in
            var image = ImageOrder(stages: stages, seed: seed, index: indexOffset + UInt64(position), guidance: sampling.guidance)
            image.cache = cacheRuns
            return image
        }
        var request = SamplingRequest(
            client: client, images: images, sampler: sampling.sampler, steps: sampling.steps, deadline: deadlineMs.map { now + .milliseconds($0) },
            partialImages: partialImages)
        (request.isJob, request.composingCost, request.solver, request.decoder) = (isJob, composingCost, sampling.solver, askedDecoder)
        return request
    }
}

/// The events, and nil whenever the interval has passed. Dropping the result drops the events.
func withPings(_ events: AsyncStream<GenerationEvent>, every interval: Duration) -> AsyncStream<GenerationEvent?> {
    let (merged, out) = AsyncStream<GenerationEvent?>.makeStream()
    let forwarding = Task {
        for await event in events { out.yield(event) }
        out.finish()
    }
    let pinging = Task {
        while (try? await Task.sleep(for: interval)) != nil { out.yield(nil) }
    }
    out.onTermination = { _ in
        forwarding.cancel()
        pinging.cancel()
    }
    return merged
}
