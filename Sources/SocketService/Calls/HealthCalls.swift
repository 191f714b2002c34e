import HTTPTypes
import Hummingbird
import SamplingEngine
import Synchronization

extension SamplingService {
    /// `GET /readyz`: asked of the engine itself, so that a stuck one turns it red; and of the store. Counts are for clients only.
    func readiness(_ call: Call) async throws(ServiceError) -> Response {
        guard let status = await probe.status(within: options.readyWithin) else {
            throw .notReady("the engine did not answer within \(options.readyWithin / .seconds(1)) s")
        }
        guard !status.draining else { throw .draining }
        do {
            _ = try catalogue.generation()
        } catch {
            throw ServiceError(binding: error)
        }
        guard call.connection.mayMake(.client, authorization: call.request.headers[.authorization], token: token) else {
            return Response(json: ["status": "ready"])
        }
        return Response(
            json: Readiness(queuedImages: status.queuedImages, queueCapacity: status.queueCapacity, activeImages: status.activeImages))
    }

    /// `GET /metrics`: with the engine's state as of now, or as last seen where it does not answer.
    func metricsText() async -> Response {
        if let status = await probe.status(within: .seconds(1)) { metrics.show(status) }
        metrics.show(composing: composing.load)
        metrics.showBuild(origin)
        if let entries = try? catalogue.list() {
            metrics.show(
                entries, resident: catalogue.residentDigests, bytes: catalogue.residentBytes, version: try? catalogue.store?.generation())
        }
        return Response(text: metrics.registry.text(help: ServiceMetrics.help), type: "text/plain; version=0.0.4; charset=utf-8")
    }
}

private struct Readiness: Encodable {
    var status = "ready"
    let queuedImages: Int
    let queueCapacity: Int
    let activeImages: Int
}

/// Asks the engine how it is. A stuck engine leaves questions behind; there are never more than a few of them.
final class EngineProbe: Sendable {
    private let engine: SamplingEngine
    private let clock: any Clock<Duration>
    private let unanswered = Atomic(0)

    init(_ engine: SamplingEngine, clock: any Clock<Duration>) {
        self.engine = engine
        self.clock = clock
    }

    /// - Returns: nil where no answer came in time.
    func status(within limit: Duration) async -> EngineStatus? {
        guard unanswered.load(ordering: .relaxed) < 16 else { return nil }
        unanswered.add(1, ordering: .relaxed)
        return await SocketService.within(limit, clock) { [self] in
            let status = await engine.status()
            unanswered.subtract(1, ordering: .relaxed)
            return status
        }
    }
}

/// The operation's value, or nil where it takes longer; it then ends unobserved.
func within<Value: Sendable>(
    _ limit: Duration, _ clock: any Clock<Duration>, _ operation: @escaping @Sendable () async -> Value
) async -> Value? {
    let (answers, answer) = AsyncStream<Value?>.makeStream()
    let work = Task { answer.yield(await operation()) }
    let timer = Task {
        try? await clock.sleep(for: limit)
        answer.yield(nil)
    }
    defer {
        work.cancel()
        timer.cancel()
    }
    for await first in answers { return first }
    return nil
}
