import AdapterFormat
import Hummingbird
import Logging
import SamplingEngine
import ServiceLifecycle
import TensorMath

/// The sampling service: requests come in over sockets, are settled and bound, go through the engine, and leave as pictures.
///
///     Sockets/     who is connected, and for how long
///     Calls/       the route table and what each call does
///     Requests/    a body becomes an order
///     Replies/     pictures, events and errors on their way out
///     Jobs/        generations that outlive their connection
package struct SamplingService: Sendable {
    let engine: SamplingEngine
    let catalogue: AdapterCatalogue
    let capabilities: Capabilities
    let origin: Origin
    let token: Token?
    let probe: EngineProbe
    let ending = Ending()
    let jobs: JobBook
    /// Whatever a call computes or waits for, but for composing and sampling.
    let work = WorkExecutor("calls", width: min(max(2, ThreadPool.processorCount), 8))
    let composing: ComposingQueue
    let metrics: ServiceMetrics
    let page = Page()
    let logger: Logger
    let options: ServiceOptions
    let clock: any Clock<Duration>

    /// - Parameter clock: by which the engine's silence and the end of a drain are judged.
    package init(
        engine: SamplingEngine, catalogue: AdapterCatalogue, token: Token?, metrics: ServiceMetrics, logger: Logger, build: String,
        options: ServiceOptions, clock: any Clock<Duration> = ContinuousClock()
    ) {
        self.engine = engine
        self.clock = clock
        probe = EngineProbe(engine, clock: clock)
        self.catalogue = catalogue
        self.token = token
        self.metrics = metrics
        self.logger = logger
        self.options = options
        var capabilities = Capabilities(
            side: engine.pictureSide ?? engine.base.configuration.inputSize, path: engine.convention.path, decoders: engine.decoders,
            limits: options.limits)
        capabilities.foreignSize = options.foreignSize
        self.capabilities = capabilities
        origin = Origin(baseDigest: engine.base.digest, baseName: engine.base.card.name, precision: engine.precision.rawValue, build: build)
        composing = ComposingQueue(width: options.composers, room: options.composingRoom)
        jobs = JobBook(keptFor: options.jobsKeptFor, limit: options.limits.jobs, replica: options.replica)
    }

    /// Everything that has to run: one listener per address, and what drains the engine when the program is told to stop.
    ///
    /// The group that runs them ends them from the last on: what drains is done before the listeners close, and so every request gets its answer.
    package func services(listeningOn addresses: [Listener.Address]) -> [any Service] {
        let respond = respond(router())
        let numbers = ConnectionNumbers()
        // Some files stay free for the store, the log and the next accept.
        let files = SystemCalls.raiseFileLimit()
        let connections = min(options.limits.connections, max(1, (files - 128) / max(1, addresses.count)))
        if connections < options.limits.connections {
            logger.warning("fewer connections than asked for", metadata: ["connections": "\(connections)", "open_files": "\(files)"])
        }
        let listeners = addresses.map { address in
            Listener(
                address: address, limits: options.limits, connections: connections, patience: options.patience, logger: logger,
                numbers: numbers, hosts: HostRule(more: options.allowedHosts), respond: respond)
        }
        return listeners + [Drain(service: self)]
    }
}

/// What a server may be told beside its addresses.
package struct ServiceOptions: Sendable, Equatable {
    package var limits = RequestLimits()
    /// For an idle connection, a body that trickles, a reply that is not taken.
    package var patience: Duration = .seconds(30)
    package var jobsKeptFor: Duration = .seconds(900)
    package var pingEvery: Duration = .seconds(15)
    /// The engine answers within this time, or the server is not ready.
    package var readyWithin: Duration = .seconds(5)
    /// Told to stop, running requests have this long to finish.
    package var drainWithin: Duration = .seconds(30)

    /// Recipes that are composed at a time, and that may wait for it.
    package var composers = 1
    package var composingRoom = 64

    /// Which of several servers behind one address this is; in the id of every job, so that a proxy finds its server again.
    package var replica: String?
    package var foreignSize = ForeignSize.refuse
    /// Names beside localhost's that clients may call the server by over TCP.
    package var allowedHosts: [String] = []

    package init() {}
}

/// Told to stop: takes nothing new, and lets what was taken finish.
struct Drain: Service {
    let service: SamplingService

    func run() async throws {
        let engine = service.engine
        do { try await gracefulShutdown() } catch {
            await engine.stop()
            throw error
        }
        service.logger.info("draining")
        let isDone = await within(service.options.drainWithin, service.clock) { await engine.drain() } != nil
        service.logger.info(isDone ? "drained" : "stopping with requests unfinished")
        service.ending.come()
        // Libraries give their memory back when the process ends: nothing may compute by then.
        await engine.stop()
    }
}
