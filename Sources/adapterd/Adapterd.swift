import AdapterFormat
import AdapterStore
import ArgumentParser
import CProcess
import Foundation
import Logging
import Metrics
import Programs
import SamplingEngine
import ServiceLifecycle
import SocketService
import SystemIO
import TensorMath

/// The sampling service: one base in memory, any domain for many clients at once.
@main
struct Adapterd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "adapterd", abstract: "Samples any domain of a store for many clients over a Unix socket.",
        discussion: """
            Example: adapterd --socket /run/user/1000/difffit/adapterd.sock
            curl --unix-socket PATH http://localhost/v1/images/generations -d '{"model":"flowers","class":"rose","n":4}'
            """,
        version: build)
    static let build = packageVersion

    @OptionGroup var flags: Flags
    @Flag(help: "Print every setting, its value and where it came from, and end.") var printConfig = false

    static func main() async {
        cp_hold_standard_descriptors()
        cp_meet_limits()
        do {
            if let empty = ShellWords.empty(in: CommandLine.arguments, ProcessInfo.processInfo.environment) { throw ValidationError(empty) }
            var command = try parseAsRoot(ShellWords.joiningNegatives(Array(CommandLine.arguments.dropFirst())))
            guard var asynchronous = command as? any AsyncParsableCommand else { return try command.run() }
            try await asynchronous.run()
        } catch {
            // Help and version are no failure; 2 is the code of wrong usage, as with adapterctl.
            if let status = error as? ExitCode { Foundation.exit(status.rawValue) }
            let isFailure = exitCode(for: error).rawValue != 0
            let text = fullMessage(for: error) + "\n"
            guard !isFailure else {
                StandardStreams.say(text)
                Foundation.exit(2)
            }
            do throws(SystemError) { try StandardStreams.print(text) } catch {
                StandardStreams.say("adapterd: \(error)\n")
                Foundation.exit(1)
            }
            Foundation.exit(0)
        }
    }

    func run() async throws {
        do {
            let configuration = try Configuration(flags, environment: ProcessInfo.processInfo.environment)
            for sentence in configuration.unknownVariables { StandardStreams.say("adapterd: warning: \(sentence)\n") }
            if printConfig { return try StandardStreams.print(configuration.text + "\n") }
            try await serve(configuration)
        } catch {
            StandardStreams.say("adapterd: \(words(of: error))\n")
            throw ExitCode(exitStatus(of: error))
        }
    }

    private func serve(_ configuration: Configuration) async throws {
        LoggingSystem.bootstrap { _ in LineLog(level: configuration.logLevel) }
        let registry = PrometheusRegistry()
        MetricsSystem.bootstrap(registry)
        let logger = Logger(label: "adapterd")

        // The socket first: a second server ends here, before it loads anything.
        let listenAddresses = try ListenAddresses(configuration)
        defer { listenAddresses.close() }
        let store = try AdapterStore.open(at: configuration.store)
        let base = try store.baseFile(configuration.base)
        let metrics = ServiceMetrics(registry: registry)
        var engineOptions = configuration.engine
        engineOptions.onStep = { metrics.count($0) }
        engineOptions.onSwap = { metrics.count(swap: $0) }
        for notice in [engineOptions.precision.fallback.notice, kernelWarning].compactMap({ $0 }) { logger.warning("\(notice)") }
        let engine = try SamplingEngine(
            base, options: engineOptions, pool: ThreadPool(threads: configuration.threads), preset: configuration.preset,
            autoencoders: store.autoencoders(configuration.vae, for: base.digest))
        guard engine.pictureSide != nil else {
            throw ConfigurationError.notFound(
                "the base '\(base.card.name)' makes latents of \(base.configuration.inChannels, "channel"), and the store has no autoencoder for it: give one with --vae"
            )
        }
        let catalogue = try AdapterCatalogue(store, base: base, budget: configuration.residentBytes, vectorLimit: max(1, engineOptions.domains))
        let service = SamplingService(
            engine: engine, catalogue: catalogue, token: listenAddresses.token, metrics: metrics, logger: logger,
            build: Self.build, options: configuration.service)
        logger.info(
            "starting",
            metadata: [
                "base": "\(base.card.name)", "base_digest": "\(base.digest)", "store": "\(store.path)", "precision": "\(engine.precision.rawValue)",
                "kernels": "\(engine.precision.libraries)",
            ])

        // A terminal that closes ends the server as politely as a service manager does; under `nohup` it does not end it.
        let isDeafToHangups = SystemCalls.ignores(SIGHUP)
        var group = ServiceGroupConfiguration(
            services: service.services(listeningOn: listenAddresses.addresses),
            gracefulShutdownSignals: [.sigterm, .sigint] + (isDeafToHangups ? [] : [.sighup]),
            logger: logger)
        // After the drain, what was stopped is still told so.
        group.maximumGracefulShutdownDuration = configuration.service.drainWithin + .seconds(10)
        try await ServiceGroup(configuration: group).run()
        logger.info("stopped")
    }
}
