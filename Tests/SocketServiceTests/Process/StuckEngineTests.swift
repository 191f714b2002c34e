import AdapterFormat
import AdapterStore
import Foundation
import Logging
import ProgramRunner
import SamplingEngine
import ServiceLifecycle
import SocketService
import Synchronization
import TensorMath
import Testing

/// Health stays green while generation hangs (lorax#779): readiness goes through the engine.
@Suite(.heavy) struct StuckEngineTests {
    /// Holds the engine's thread inside a step, until let go.
    private final class Gate: Sendable {
        private let entered = DispatchSemaphore(value: 0), released = DispatchSemaphore(value: 0)
        func pass() {
            entered.signal()
            released.wait()
            released.signal()
        }
        func waitUntilEntered() { entered.wait() }
        func open() { released.signal() }
    }

    /// A clock by which time stands still, until it is told to rush: every wait is then over at once.
    private final class HandClock: Clock {
        private let real = ContinuousClock()
        private let state = Mutex((rushes: false, sleepers: [Int: CheckedContinuation<Void, Never>](), next: 0))

        var now: ContinuousClock.Instant { real.now }
        var minimumResolution: Duration { .nanoseconds(1) }

        func rush() {
            let woken = state.withLock { state in
                state.rushes = true
                defer { state.sleepers = [:] }
                return Array(state.sleepers.values)
            }
            for sleeper in woken { sleeper.resume() }
        }

        func standStill() { state.withLock { $0.rushes = false } }

        func sleep(until deadline: ContinuousClock.Instant, tolerance: Duration?) async throws {
            let number = state.withLock { state in
                state.next += 1
                return state.next
            }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let isOver = state.withLock { state in
                        if !state.rushes, !Task.isCancelled { state.sleepers[number] = continuation }
                        return state.sleepers[number] == nil
                    }
                    if isOver { continuation.resume() }
                }
            } onCancel: {
                state.withLock { $0.sleepers.removeValue(forKey: number) }?.resume()
            }
        }
    }

    @Test func aStuckEngineTurnsReadinessRed() async throws {
        let folder = try Server.makeFolder(["flowers"])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let gate = Gate()
        let base = try BaseFile(path: Server.shipped("base"))
        var engineOptions = EngineOptions()
        engineOptions.onStep = { _ in gate.pass() }
        let engine = try SamplingEngine(base, options: engineOptions, pool: ThreadPool(threads: 1))
        let catalogue = try AdapterCatalogue(AdapterStore.open(at: folder + "/store"), base: base)
        var options = ServiceOptions()
        options.patience = .seconds(3600)
        let clock = HandClock()
        let service = SamplingService(
            engine: engine, catalogue: catalogue, token: nil, metrics: ServiceMetrics(registry: PrometheusRegistry()),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, build: "test", options: options, clock: clock)
        let socket = try UnixSocket(path: folder + "/run/d.sock")
        let group = ServiceGroup(
            services: service.services(listeningOn: [.unix(descriptor: socket.descriptor)]),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let running = Task { try await group.run() }

        // Blocking calls go to a thread of their own; the pool belongs to the server.
        let path = socket.path
        let replies = try await onThread { () throws -> [Reply] in
            func call(_ method: String, _ path: String, _ body: String? = nil, at socket: String) throws -> Reply {
                let connection = try RawConnection(socket: socket)
                connection.send(Server.message(method, path, body))
                return try connection.response()
            }
            let before = try call("GET", "/readyz", at: path)
            let job = try call("POST", "/v1/jobs", #"{"model":"flowers","class":"rose","steps":2}"#, at: path)
            gate.waitUntilEntered()
            clock.rush()
            // Asked often, it stays red and does not pile up questions.
            let connections = try (0..<40).map { _ in try RawConnection(socket: path) }
            for connection in connections { connection.send(Server.message("GET", "/readyz")) }
            for connection in connections { if try connection.response().status != 503 { throw RawConnection.Fault.malformed("not red") } }
            let stuck = try call("GET", "/readyz", at: path)
            let alive = try call("GET", "/healthz", at: path)
            let metrics = try call("GET", "/metrics", at: path)
            clock.standStill()
            gate.open()
            let id = job.json["id"] as? String ?? ""
            let events = try call("GET", "/v1/jobs/\(id)/events", at: path)
            // Questions that were left behind are still being answered.
            var after = try call("GET", "/readyz", at: path)
            for _ in 0..<100_000 where after.status == 503 { after = try call("GET", "/readyz", at: path) }
            return [before, job, stuck, alive, metrics, events, after]
        }
        #expect(replies.map(\.status) == [200, 202, 503, 200, 200, 200, 200])
        #expect(replies[2].code == "not_ready")
        #expect(SentEvent.all(in: replies[5].text).last?.name == "image_generation.summary")
        await group.triggerGracefulShutdown()
        try await running.value
        socket.remove()
    }

    private func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { continuation.resume(with: Result { try body() }) }
        }
    }
}
