import AdapterFormat
import Foundation
import Logging
import NIOCore
import SamplingEngine
import Synchronization

/// An order that the engine has taken, followed to its end.
final class Generation: Sendable {
    let order: GenerationOrder
    let ticket: SamplingTicket
    private let origin: Origin
    private let metrics: ServiceMetrics
    private let logger: Logger
    private let ending: Ending
    /// Where pictures are encoded.
    private let work: WorkExecutor
    private let startedAt = Mutex<ContinuousClock.Instant?>(nil)

    init(order: GenerationOrder, ticket: SamplingTicket, origin: Origin, metrics: ServiceMetrics, logger: Logger, ending: Ending, work: WorkExecutor) {
        self.ending = ending
        self.order = order
        self.ticket = ticket
        self.origin = origin
        self.metrics = metrics
        self.logger = logger
        self.work = work
    }

    /// What happens, in the service's words; to be followed once. Ends with `finished` or `failed`. Dropping it cancels the request.
    func follow() -> AsyncStream<GenerationEvent> {
        let (events, out) = AsyncStream<GenerationEvent>.makeStream()
        let following = Task(executorPreference: work) { [self] in
            out.yield(.queued(position: ticket.position))
            var isOver = false, step = 0
            for await event in ticket.events {
                guard let translated = translate(event, &step) else { continue }
                out.yield(translated)
                isOver = translated.isLast
                if isOver { break }
            }
            // An engine's stream that just ends was cancelled.
            if !isOver { out.yield(.failed(note(.cancelled))) }
            out.finish()
        }
        out.onTermination = { _ in following.cancel() }
        return events
    }

    /// Waits for all pictures.
    func reply(size: String) async throws(ServiceError) -> GenerationReply {
        var pictures: [Picture] = []
        for await event in follow() {
            switch event {
            case .picture(let picture): pictures.append(picture)
            case .finished(let usage):
                return GenerationReply(pictures.sorted { $0.index < $1.index }, size: size, usage: usage, created: unixSeconds())
            case .failed(let error): throw error
            case .queued, .progress, .partial: break
            }
        }
        throw .cancelled
    }

    /// - Parameter told: the step that the client heard of last.
    private func translate(_ event: SamplingEvent, _ told: inout Int) -> GenerationEvent? {
        switch event {
        case .started:
            startedAt.withLock { $0 = .now }
            return .progress(step: 0, of: order.sampling.steps, etaMs: nil)
        case .progress(let steps, let all):
            // The engine counts the steps of every image; a client hears of each step once.
            guard steps / order.count > told else { return nil }
            told = steps / order.count
            return .progress(step: told, of: all / order.count, etaMs: eta(steps, all))
        case .latent: return nil
        case .partial(let image, let number, let picture):
            do throws(ServiceError) {
                return .partial(index: order.indexOffset + UInt64(image), number: number, png: try Picture.partial(picture))
            } catch {
                return .failed(note(error))
            }
        case .image(let position, let image):
            guard let picture = image.picture else { return nil }
            do throws(ServiceError) {
                return .picture(try Picture(picture, position: position, of: order, origin: origin))
            } catch {
                return .failed(note(error))
            }
        case .finished(let times):
            let usage = Usage(order, times, origin)
            metrics.count(finished: order, times)
            logger.info(
                "sampled",
                metadata: [
                    "adapter": "\(order.recipe.label)", "digest": "\(order.recipe.digest)", "class": "\(order.className)",
                    "n": "\(order.count)", "steps": "\(order.sampling.steps)", "seed": "\(order.seed)", "queue_ms": "\(usage.queueMs)",
                    "swap_us": "\(usage.swapUs)", "sample_ms": "\(usage.sampleMs)", "decode_ms": "\(usage.decodeMs)",
                ])
            return .finished(usage)
        case .failed(let failure): return .failed(note(ServiceError(failure)))
        }
    }

    private func eta(_ step: Int, _ steps: Int) -> Double? {
        guard step > 0, let start = startedAt.withLock({ $0 }) else { return nil }
        return ((ContinuousClock.now - start) / step * (steps - step)).milliseconds
    }

    private func note(_ reason: ServiceError) -> ServiceError {
        let error = reason == .cancelled && ending.hasCome ? .stopped : reason
        metrics.count(ended: order, error, hadStarted: startedAt.withLock { $0 } != nil)
        logger.info(
            "not sampled", metadata: ["adapter": "\(order.recipe.label)", "digest": "\(order.recipe.digest)", "reason": "\(error)"])
        return error
    }
}

/// Whether the server's time to drain is over: what is cancelled from then on was stopped by the server and by nobody else.
final class Ending: Sendable {
    private let state = Atomic(false)
    var hasCome: Bool { state.load(ordering: .acquiring) }
    func come() { state.store(true, ordering: .releasing) }
}

/// What a client hears about its generation.
enum GenerationEvent: Sendable {
    case queued(position: Int)
    case progress(step: Int, of: Int, etaMs: Double?)
    case partial(index: UInt64, number: Int, png: Data)
    case picture(Picture)
    case finished(Usage)
    case failed(ServiceError)

    var isLast: Bool {
        switch self {
        case .finished, .failed: true
        case .queued, .progress, .partial, .picture: false
        }
    }

    func serverSentEvent(size: String) -> ByteBuffer {
        switch self {
        case .queued(let position):
            SocketService.serverSentEvent("image_generation.queued", StreamedEvent.Queued(queuePosition: position))
        case .progress(let step, let steps, let eta):
            SocketService.serverSentEvent("image_generation.progress", StreamedEvent.Progress(step: step, steps: steps, etaMs: eta))
        case .partial(let index, let number, let png):
            SocketService.serverSentEvent(
                "image_generation.partial_image",
                StreamedEvent.Partial(
                    b64Json: png.base64EncodedString(), partialImageIndex: number, index: index, createdAt: unixSeconds(), size: size))
        case .picture(let picture):
            SocketService.serverSentEvent(
                "image_generation.completed", StreamedEvent.Completed(picture, size: size, createdAt: unixSeconds()))
        case .finished(let usage):
            SocketService.serverSentEvent("image_generation.summary", StreamedEvent.Summary(createdAt: unixSeconds(), xDifffit: usage))
        case .failed(let error): SocketService.serverSentEvent("error", ErrorReply(error))
        }
    }
}

func unixSeconds() -> Int { Int(Date.now.timeIntervalSince1970) }
