import AdapterFormat
import AdapterStore
import ArgumentParser
import DiTModel
import Foundation
import TensorMath

/// A folder for one run, deleted at its end.
private func withTemporaryStore<Result>(_ layout: TunableLayout, _ body: (AdapterStore, BaseValues) throws -> Result) throws -> Result {
    let folder = NSTemporaryDirectory() + "difffit-bench-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    // The store asks of a base only that it is there; these values are the base's own.
    let file = folder + "/base"
    try Data(layout.digest.description.utf8).write(to: URL(filePath: file))
    let store = try AdapterStore.create(at: folder + "/store")
    let digest = try store.importBase(from: file, card: Data())
    return try body(store, BaseValues(digest: digest, layout: layout, vector: TunableVector.neutral(layout)))
}

struct BenchSwap: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "swap", abstract: "Seconds per hot swap: warm against one memcpy of the same bytes, and cold from a store.",
        discussion: "Example: adapterctl bench swap --model DiT-XL/2")
    @Option var runs = 1000
    @Option(help: "Classes of the adapter.") var classes = 10
    @OptionGroup var model: ModelOptions
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let rawBytes: Int
        let warm, memcpy, cold: Timing
        let warmOverMemcpy, coldMillisecondsPerMegabyte: Double
    }

    func run() throws {
        guard (1...1_000_000).contains(runs), (1...100_000).contains(classes) else { throw Failure.usage("--runs and --classes are at least 1") }
        let layout = TunableLayout(try model.configuration())
        let result = try withTemporaryStore(layout) { store, values in try measure(layout, store, values) }
        try output.report("bench swap", result) {
            """
            \(result.warm.line)
            \(result.memcpy.line)
            \(result.cold.line)
            warm is \(String(format: "%.2f", result.warmOverMemcpy)) of a memcpy; cold takes \(String(format: "%.2f", result.coldMillisecondsPerMegabyte)) ms per raw MB
            \(result.warm.machine)
            """
        }
    }

    private func measure(_ layout: TunableLayout, _ store: AdapterStore, _ values: BaseValues) throws -> Result {
        let adapters = (0..<2).map { model.randomAdapter(layout, base: values.digest, classes: classes, seed: $0) }
        let count = layout.count + adapters[0].classes.values.count
        let adapterSlots = AdapterSlots(layout, count: 1, classRows: classes + 1)
        var turn = 0
        let warm = Timing("warm swap of \(count) values", runs: runs) {
            adapterSlots.install(adapters[turn % 2].vector, adapters[turn % 2].classes, slot: 0)
            turn += 1
        }
        let memory = Memory(capacity: 3 * Memory.paddedCount(count))
        let from = (0..<2).map { _ in memory.take(count) }, to = memory.take(count)
        for source in from { source.fill(1) }
        let memcpy = Timing("memcpy of \(count) values", runs: runs) {
            to.copy(from: from[turn % 2])
            turn += 1
        }
        for (index, adapter) in adapters.enumerated() { _ = try store.add(adapter.stored(), as: "adapter-\(index)", over: values) }
        let cold = try Timing("cold swap from the store", runs: min(runs, 50)) {
            let stored = try store.load(store.lookup("adapter-\(turn % 2)").digest, over: values)
            adapterSlots.install(stored.vector, stored.classes, slot: 0)
            turn += 1
        }
        return Result(
            rawBytes: count * 4, warm: warm, memcpy: memcpy, cold: cold, warmOverMemcpy: warm.medianSeconds / memcpy.medianSeconds,
            coldMillisecondsPerMegabyte: cold.medianSeconds * 1e3 / (Double(count * 4) / 1e6))
    }
}

struct BenchStore: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store", abstract: "Bytes per adapter, and seconds to add, to look up and to load, in a store of so many.",
        discussion: "Example: adapterctl bench store --adapters 10000")
    @Option var adapters = 8
    @Option var runs = 200
    @OptionGroup var model: ModelOptions
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let adapters, rawBytes, storedBytes: Int
        let add, lookup, load: Timing
    }

    func run() throws {
        guard (1...1_000_000).contains(runs), (1...1_000_000).contains(adapters) else { throw Failure.usage("--runs and --adapters are at least 1") }
        let layout = TunableLayout(try model.configuration())
        let result = try withTemporaryStore(layout) { store, values in
            func add(_ index: Int) throws {
                // bfloat16, as shipped adapters are.
                let adapter = model.randomAdapter(layout, base: values.digest, classes: 7, seed: UInt64(index)).roundedToBFloat16(layout)
                _ = try store.add(adapter.stored(), as: "adapter-\(index)", over: values, precision: adapter.storedPrecision(over: values.vector))
            }
            let timed = min(adapters, 100)
            for index in 0..<(adapters - timed) { try add(index) }
            var next = adapters - timed
            let adding = try Timing("add, the last \(timed) of \(adapters)", runs: timed, warmup: 0) {
                try add(next)
                next += 1
            }
            var turn = 0
            func name() -> String {
                turn += 1
                return "adapter-\(turn &* 7919 % adapters)"
            }
            let lookup = try Timing("look up a name among \(adapters)", runs: runs) { _ = try store.lookup(name()) }
            let load = try Timing("load checked values by name", runs: runs) { _ = try store.load(store.lookup(name()).digest, over: values) }
            let entry = try store.lookup("adapter-0")
            return Result(
                adapters: adapters, rawBytes: entry.contentBytes, storedBytes: entry.storedBytes, add: adding, lookup: lookup, load: load)
        }
        try output.report("bench store", result) {
            """
            \(readable(bytes: result.storedBytes)) stored of \(readable(bytes: result.rawBytes)) per adapter (random values, the least compressible)
            \(result.add.line)
            \(result.lookup.line)
            \(result.load.line)
            \(result.add.machine)
            """
        }
    }
}
