import AdapterFormat
import AdapterStore
import DiTModel
import Foundation
import Logging
import Programs
import SamplingEngine
import SocketService
import TensorMath

/// Everything that the server is told: flags before environment before defaults.
struct Configuration {
    let store: String
    let base: String?
    let vae: String?
    let preset: Preset?
    let socket: String
    let port: Int?
    let tokenFile: String?
    let logLevel: Logger.Level
    let service: ServiceOptions
    let engine: EngineOptions
    let threads: Int
    let residentBytes: Int
    let settings: [Setting]
    /// One sentence for each variable that looks like a setting and is none.
    let unknownVariables: [String]

    init(_ flags: Flags, environment: [String: String]) throws(ConfigurationError) {
        var reader = SettingsReader(environment: environment)
        let store = reader.text("store", flags.store, default: UserFolders.store(environment)) ?? ""
        self.store = store
        base = reader.text("base", flags.base, default: nil)
        vae = reader.text("vae", flags.vae, default: nil)
        preset = try reader.choice("preset", flags.preset)
        socket = try reader.socket(flags.socket, default: Self.defaultSocket(environment, store: store))
        port = try reader.port(flags.port)
        tokenFile = reader.text("token-file", flags.tokenFile, default: nil)
        logLevel = try reader.choice("log-level", flags.logLevel, default: .info)

        var service = ServiceOptions()
        service.drainWithin = .seconds(try reader.number("drain-seconds", flags.drainSeconds, default: 30, in: 0...3600) ?? 30)
        service.patience = .seconds(try reader.number("patience-seconds", flags.patienceSeconds, default: 30, in: 1...3600) ?? 30)
        service.jobsKeptFor = .seconds(try reader.number("jobs-kept-seconds", flags.jobsKeptSeconds, default: 900, in: 0...86400) ?? 900)
        service.readyWithin = .seconds(try reader.number("ready-seconds", flags.readySeconds, default: 5, in: 1...600) ?? 5)
        service.pingEvery = .seconds(try reader.number("ping-seconds", flags.pingSeconds, default: 15, in: 1...600) ?? 15)
        let limits = RequestLimits()
        service.limits.connections =
            try reader.number("max-connections", flags.maxConnections, default: limits.connections, in: 1...100_000) ?? 1
        service.limits.images = try reader.number("max-images", flags.maxImages, default: limits.images, in: 1...4096) ?? 1
        service.limits.steps = try reader.number("max-steps", flags.maxSteps, default: limits.steps, in: 1...limits.steps) ?? 1
        service.limits.jobs = try reader.number("max-jobs", flags.maxJobs, default: limits.jobs, in: 1...100_000) ?? 1
        service.allowedHosts = try reader.hosts(flags.allowedHosts)
        service.foreignSize = try reader.choice("foreign-size", flags.foreignSize, default: .refuse)
        service.limits.recipeTerms =
            try reader.number("max-recipe-terms", flags.maxRecipeTerms, default: limits.recipeTerms, in: 1...1024) ?? 1
        service.limits.mergeTerms = try reader.number("max-merge-terms", flags.maxMergeTerms, default: limits.mergeTerms, in: 0...1024) ?? 0
        service.composers = try reader.number("composers", flags.composers, default: service.composers, in: 1...64) ?? 1
        service.replica = try reader.replica(flags.replica)
        self.service = service

        var engine = EngineOptions()
        engine.rows = try reader.number("rows", flags.rows, default: engine.rows, in: 2...4096) ?? 2
        engine.domains = try reader.number("domains", flags.domains, default: engine.domains, in: 1...4096) ?? 1
        engine.queueImages = try reader.number("queue", flags.queue, default: engine.queueImages, in: 1...1_000_000) ?? 1
        engine.clientShare = try reader.number("client-share", flags.clientShare, default: engine.clientShare, in: 1...1_000_000) ?? 1
        engine.largestCost = try reader.number("max-cost", flags.maxCost, default: engine.largestCost, in: 1...1_000_000_000) ?? 1
        engine.networkBytes = (try reader.number("network-mb", flags.networkMb, default: engine.networkBytes >> 20, in: 0...1_000_000) ?? 0) << 20
        engine.precision = try reader.choice("precision", flags.precision, default: PrecisionChoice.auto).precision
        self.engine = engine
        let cores = ThreadPool.processorCount
        threads = try reader.number("threads", flags.threads, default: cores, in: 1...1024) ?? cores
        residentBytes = (try reader.number("resident-mb", flags.residentMb, default: 1024, in: 0...1_000_000) ?? 0) << 20
        settings = reader.settings
        unknownVariables = ShellWords.unknownSettings(in: environment)
        if port != nil, tokenFile == nil { throw .tokenMissing }
    }

    /// One line per setting. The token itself is in no flag, and so not here.
    var text: String {
        let width = settings.map(\.flag.count).max() ?? 0
        return settings.map { "\($0.flag.padding(toLength: width, withPad: " ", startingAt: 0))  \($0.value)  (\($0.origin))" }
            .joined(separator: "\n")
    }

    private static func defaultSocket(_ environment: [String: String], store: String) -> String {
        guard let runtime = environment["XDG_RUNTIME_DIR"], !runtime.isEmpty else { return store + "/run/adapterd.sock" }
        return runtime + "/difffit/adapterd.sock"
    }
}
