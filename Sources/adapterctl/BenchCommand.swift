import AdapterFormat
import AdapterStore
import AdapterTraining
import ArgumentParser
import DiTModel
import Foundation
import TensorMath

struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Time one part of the program on this machine.", subcommands: [BenchForward.self, BenchSwap.self, BenchTrain.self, BenchStore.self])
}

/// Medians and percentiles of repeated work, with what ran it.
struct Timing: Encodable {
    let what: String
    let runs: Int
    let medianSeconds, p10Seconds, p90Seconds: Double
    let processor: String
    let lanes: Int
    let library: String

    /// - Parameter warmup: runs that are not counted.
    init(_ what: String, runs: Int, warmup: Int = 1, _ work: () throws -> Void) rethrows {
        var seconds: [Double] = []
        for run in 0..<(runs + warmup) {
            let start = ContinuousClock.now
            try work()
            if run >= warmup { seconds.append((ContinuousClock.now - start) / .seconds(1)) }
        }
        seconds.sort()
        let at = { (share: Double) in seconds[min(seconds.count - 1, Int(share * Double(seconds.count)))] }
        self.what = what
        self.runs = runs
        (medianSeconds, p10Seconds, p90Seconds) = (at(0.5), at(0.1), at(0.9))
        let information = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        let line = information.split(separator: "\n").first { $0.hasPrefix("model name") }
        processor = line?.split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) } ?? "unknown"
        lanes = ComputePool.processorCount
        library = blasDescription
    }

    var text: String {
        func show(_ seconds: Double) -> String {
            seconds < 1e-3 ? String(format: "%.1f us", seconds * 1e6) : seconds < 1 ? String(format: "%.2f ms", seconds * 1e3) : String(format: "%.3f s", seconds)
        }
        return "\(what): median \(show(medianSeconds)), 10 % \(show(p10Seconds)), 90 % \(show(p90Seconds)) of \(runs) runs\n\(processor), \(lanes) lanes, \(library)"
    }
}

/// A network of a named shape with random weights, so that no file is needed.
struct ModelOptions: ParsableArguments {
    @Option(help: "DiT-{S,B,L,XL}/{2,4,8}, or shipped.") var model = "shipped"
    @Option(help: "256 or 512 pixels, for the named models.") var pixels = 256

    func configuration() throws -> DiTConfiguration {
        if model == "shipped" {
            return DiTConfiguration(
                inputSize: 32, patchSize: 4, inChannels: 3, hiddenSize: 192, depth: 8, numHeads: 6, numClasses: 35, learnSigma: false)
        }
        guard let found = DiTConfiguration.preset(model, pixels: pixels), pixels % 8 == 0, pixels > 0 else {
            throw Failure.usage("there is no model '\(model)' at \(pixels) pixels: take DiT-S, B, L or XL with /2, /4 or /8")
        }
        return found
    }

    func randomModel(_ configuration: DiTConfiguration) -> DiT {
        let (weights, memory) = Weights.allocate(configuration)
        NoiseStream(seed: 1, stream: 1).normals(into: memory.all)
        memory.all.withMutableSpan { for i in $0.indices { $0[i] *= 0.02 } }
        memory.seal()
        return DiT(configuration, weights: weights)
    }

    func randomVector(_ layout: TunableLayout, seed: UInt64) -> TunableVector {
        var noise = [Float](repeating: 0, count: layout.count)
        NoiseStream(seed: seed, stream: 2).normals(into: &noise)
        return TunableVector(zip(TunableVector.neutral(layout).values, noise).map { $0 + 0.02 * $1 }, layout: layout)
    }
}

struct BenchForward: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forward", abstract: "Seconds per network call.", discussion: "Example: adapterctl bench forward --model DiT-XL/2 --rows 2")
    @Option(help: "Rows of one call.") var rows = 2
    @Option(help: "Different adapters among the rows.") var domains = 1
    @Option var runs = 5
    @OptionGroup var model: ModelOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        guard (1...1024).contains(rows), (1...rows).contains(domains), (1...10_000).contains(runs) else {
            throw Failure.usage("--rows is between 1 and 1024, --domains at most --rows, --runs at least 1")
        }
        let c = try model.configuration()
        let layout = TunableLayout(c)
        let bank = TunableBank(layout, rows: domains, classRows: c.numClasses + 1)
        let table = ClassTable(names: (0..<c.numClasses).map(String.init), values: [Float](repeating: 0.1, count: (c.numClasses + 1) * c.hiddenSize))
        for row in 0..<domains { bank.install(model.randomVector(layout, seed: UInt64(row)), table, row: row) }
        let batch = DiTBatch(model.randomModel(c), bank: bank, rows: rows, pool: ComputePool())
        let plane = c.inputSize * c.inputSize
        let memory = Memory(capacity: Memory.paddedCount(rows * c.inChannels * plane) + Memory.paddedCount(rows * c.outChannels * plane))
        let x = memory.take(rows, c.inChannels * plane), out = memory.take(rows, c.outChannels * plane)
        NoiseStream(seed: 1, stream: 3).normals(into: x)
        let timing = Timing("forward of \(rows) rows of \(model.model), \(domains) domains, f32", runs: runs) {
            batch.forward(
                x: x, times: [Float](repeating: 500, count: rows), classes: [Int](repeating: 1, count: rows), bankRows: (0..<rows).map { $0 % domains },
                into: out)
        }
        try output.report("bench forward", timing) { timing.text }
    }
}

struct BenchSwap: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "swap", abstract: "Seconds per warm hot swap.", discussion: "Example: adapterctl bench swap --model DiT-XL/2")
    @Option var runs = 200
    @OptionGroup var model: ModelOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        guard (1...1_000_000).contains(runs) else { throw Failure.usage("--runs is at least 1") }
        let c = try model.configuration()
        let layout = TunableLayout(c)
        let classes = 101
        let bank = TunableBank(layout, rows: 1, classRows: classes + 1)
        let table = ClassTable(names: (0..<classes).map(String.init), values: [Float](repeating: 0.1, count: (classes + 1) * c.hiddenSize))
        let vectors = (0..<2).map { model.randomVector(layout, seed: UInt64($0)) }
        var turn = 0
        let timing = Timing("warm swap of \(layout.count + table.values.count) values", runs: runs) {
            bank.install(vectors[turn % 2], table, row: 0)
            turn += 1
        }
        try output.report("bench swap", timing) { timing.text }
    }
}

struct BenchTrain: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train", abstract: "Seconds per gradient step.", discussion: "Example: adapterctl bench train --full --batch 64")
    @Option var batch = 64
    @Flag(help: "Gradients of the matrices too, as full fine-tuning needs them.") var full = false
    @Option var runs = 5
    @OptionGroup var model: ModelOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        guard (1...4096).contains(batch), (1...10_000).contains(runs) else { throw Failure.usage("--batch is between 1 and 4096, --runs at least 1") }
        let c = try model.configuration()
        let layout = TunableLayout(c)
        let values = TrainableValues(layout, classes: 10, withWeights: false)
        values.vector.copy(from: model.randomVector(layout, seed: 1).values)
        let step = GradientStep(model.randomModel(c), layout: layout, classes: 10, trainsWeights: full, pool: ComputePool())
        let x = Memory(capacity: batch * c.inChannels * c.inputSize * c.inputSize + 16).take(batch, c.inChannels * c.inputSize * c.inputSize)
        NoiseStream(seed: 1, stream: 3).normals(into: x)
        let timing = Timing("\(full ? "full" : "DiffFit") gradient of \(batch) images, \(readable(bytes: step.bytes)) of memory", runs: runs) {
            step.run(
                x: x, times: [Float](repeating: 500, count: batch), classes: [Int](repeating: 1, count: batch), tunables: values.tunables
            ) { _, output, slope in slope.copy(from: output) }
        }
        try output.report("bench train", timing) { timing.text }
    }
}

struct BenchStore: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store", abstract: "Seconds from a name to checked values.", discussion: "Example: adapterctl bench store flowers")
    @Argument(help: "An adapter in the store.") var reference: String
    @Option var runs = 50
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func run() throws {
        guard (1...1_000_000).contains(runs) else { throw Failure.usage("--runs is at least 1") }
        let store = try location.open()
        let entry = try store.lookup(reference)
        let values = try store.baseFile(entry.baseDigest).values()
        let timing = try Timing("load of \(readable(bytes: entry.contentBytes)) stored in \(readable(bytes: entry.storedBytes))", runs: runs) {
            _ = try store.load(store.lookup(reference).digest, over: values)
        }
        try output.report("bench store", timing) { timing.text }
    }
}
