import AdapterFormat
import ArgumentParser
import DiTModel
import Foundation
import TensorMath

struct BenchForward: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forward", abstract: "Seconds per network call, and with --error what a precision costs in exactness.",
        discussion: """
            Example: adapterctl bench forward --model DiT-XL/2 --rows 2 --precision bf16
            adapterctl bench forward --model DiT-XL/2 --rows 8 --domains 8 --precision int8
            adapterctl bench forward --model DiT-XL/2 --rows 1 --precision int8 --error
            adapterctl bench forward --model DiT-XL/2 --rows 2 --precision bf16 --products onednn
            adapterctl bench forward --model DiT-XL/2 --rows 2 --precision bf16 --rank 16
            adapterctl bench forward --model DiT-XL/2 --rows 1 --precision bf16 --pattern 2:4
            """)
    @Option(help: "Rows of one call.") var rows = 2
    @Option(help: "Different adapters among the rows; above 1 the same call with one adapter is timed beside it.") var domains = 1
    @Option(help: "Rank of low-rank pairs beside every layer of the blocks, for all rows; the same call without them is timed beside it.") var rank = 0
    @Option(
        help: "2:4 makes two of every four weights of the blocks' matrices zero and leaves these out of memory; the same network with them is timed beside it."
    ) var pattern: String?
    @Option var runs = 5
    @Option(
        help: """
            What multiplies at bf16 and int8: auto (AMX tiles where the processor has them, else oneDNN), onednn, or plain-tiles (the same tiles in \
            plain C: slow, but on any processor).
            """) var products = ProductChoice.auto
    @Flag(help: "The relative error of the output against f32 at t = 20, 500 and 999.") var error = false
    @Flag(help: .hidden) var turns = false
    @OptionGroup var precision: PrecisionOption
    @OptionGroup var model: ModelOptions
    @OptionGroup var output: OutputOptions

    enum ProductChoice: String, ExpressibleByArgument, CaseIterable {
        case auto
        case onednn
        case plainTiles = "plain-tiles"

        var matrixTiles: MatrixTiles? {
            switch self {
            case .auto: .native
            case .onednn: nil
            case .plainTiles: .plain
            }
        }
    }

    struct Result: Encodable {
        let precision: String
        let packedBytes: Int
        /// Read and written by all rows: the packed matrices, once a row, and what goes between the layers.
        let movedBytes: Int
        /// Of the same matrices with their zeros.
        let packedBytesWhole: Int?
        let forward, productsAlone: Timing
        /// A row's share of the conditioning, computed for as many rows at once as sampling does; part of `forward`.
        let conditioningSecondsPerRow: Double
        /// Operations a second of the whole call over those of the blocks' packed products alone.
        let share: Double
        let secondsPerRow, operationsPerSecond: Double
        /// Over what the processor does on registers.
        let shareOfMachine: Double?
        /// Seconds of the call with several adapters over those of the call with one, and of that with low-rank pairs over it.
        let mixedOverSingle, pairsOverNone: Double?
        /// Seconds of the call without zeros in memory over those of the call with them: medians, and least times.
        let sparseOverWhole, sparseOverWholeLeast: Double?
        let errors: [OutputError]
    }

    /// Root mean square of the difference over that of the f32 output.
    struct OutputError: Encodable {
        let t: Int
        let relative: Double
    }

    func run() throws {
        guard (1...1024).contains(rows), (1...rows).contains(domains), (1...10_000).contains(runs), (0...1024).contains(rank) else {
            throw Failure.usage("--rows is between 1 and 1024, --domains at most --rows, --runs at least 1, --rank at most 1024")
        }
        if let pattern { try checkPattern(pattern) }
        let c = try model.configuration(), precision = try precision.chosen(), isSparse = pattern != nil
        let network = try model.randomNetwork(c, precision, products.matrixTiles, sparse: isSparse, compressed: isSparse)
        let pool = ThreadPool()
        let call = NetworkCall(network, model, rows: rows, domains: domains, rank: rank, pool: pool)
        let whole =
            try isSparse
            ? NetworkCall(
                model.randomNetwork(c, precision, products.matrixTiles, sparse: true), model, rows: rows, domains: domains, rank: rank, pool: pool) : nil
        let conditioning = call.conditioningSecondsPerRow(runs: runs)
        func seconds(_ adapters: NetworkCall.Adapters) -> Double {
            let start = ContinuousClock.now
            (adapters == .oneOfWhole ? whole ?? call : call).forward(t: 500, adapters)
            return (ContinuousClock.now - start) / .seconds(1) + conditioning * Double(rows)
        }
        if turns { return try takeTurns { seconds(.one) } }
        let contenders: [NetworkCall.Adapters] = [.one] + (domains > 1 ? [.several] : []) + (rank > 0 ? [.pairs] : []) + (isSparse ? [.oneOfWhole] : [])
        var times = contenders.map { _ in [Double]() }
        // In turns, so that what else the machine does falls on all alike.
        for run in 0...runs {
            for (index, contender) in contenders.enumerated() {
                let time = seconds(contender)
                if run > 0 { times[index].append(time) }
            }
        }
        func ratio(_ adapters: NetworkCall.Adapters) -> Double? {
            contenders.firstIndex(of: adapters).map { Timing("", seconds: times[$0]).medianSeconds / Timing("", seconds: times[0]).medianSeconds }
        }
        let wholeTimes = contenders.firstIndex(of: .oneOfWhole).map { times[$0] }
        let timing = Timing(
            "forward of \(rows, "row") of \(model.model) at \(model.pixels) px, \(domains, "domain"), \(precision.rawValue)",
            seconds: times[domains > 1 ? 1 : 0],
            library: precision.libraries(products.matrixTiles))
        let alone = productsAlone(network, pool, precision)
        // Per row: the blocks' products, and the two of attention.
        let (T, D) = (Double(c.tokens), Double(c.hiddenSize))
        let blocks = Double(c.depth) * 24 * T * D * D, attention = Double(c.depth) * 4 * T * T * D
        let rate = (blocks + attention) * Double(rows) / timing.medianSeconds
        let result = Result(
            precision: precision.rawValue, packedBytes: network.packedBytes, movedBytes: rows * (network.packedBytes + network.streamedBytes),
            packedBytesWhole: whole?.packedBytes, forward: timing, productsAlone: alone,
            conditioningSecondsPerRow: conditioning,
            share: rate / (blocks * Double(rows) / alone.medianSeconds), secondsPerRow: timing.medianSeconds / Double(rows),
            operationsPerSecond: rate, shareOfMachine: MachineRates.arithmetic(precision, threads: pool.threadCount, pool).map { rate / $0 },
            mixedOverSingle: ratio(.several), pairsOverNone: ratio(.pairs),
            sparseOverWhole: ratio(.oneOfWhole).map { 1 / $0 },
            sparseOverWholeLeast: wholeTimes.flatMap { whole in
                whole.min().flatMap { least in times[0].min().map { $0 / least } }
            },
            errors: error ? try errors(call, against: model.randomNetwork(c, .f32), pool) : [])
        try output.report("bench forward", result) { text(result) }
    }

    private func text(_ r: Result) -> String {
        var lines = [
            r.forward.line, r.productsAlone.line,
            String(format: "%.0f G/s, %.0f %% of the arithmetic rate of the products alone", r.operationsPerSecond / 1e9, r.share * 100)
                + (r.shareOfMachine.map { String(format: ", %.0f %% of the processor's on registers (bench machine)", $0 * 100) } ?? ""),
            String(
                format: "%@ read and written at least, %.1f GB/s", readable(bytes: r.movedBytes), Double(r.movedBytes) / r.forward.medianSeconds / 1e9),
            "\(readable(bytes: r.packedBytes)) of packed matrices; \(readable(seconds: r.conditioningSecondsPerRow)) a row of conditioning, \(DiTBatch.rowsAhead) rows at once",
        ]
        if let ratio = r.mixedOverSingle { lines.append(String(format: "%.3f of the time of one domain", ratio)) }
        if let ratio = r.pairsOverNone { lines.append(String(format: "with pairs of rank %d %.3f of the time without", rank, ratio)) }
        if let ratio = r.sparseOverWhole, let least = r.sparseOverWholeLeast, let bytes = r.packedBytesWhole {
            lines.append(
                String(format: "2:4 without its zeros: %.2f times less memory than with them (", Double(bytes) / Double(r.packedBytes))
                    + readable(bytes: bytes) + String(format: "), %.3f of the time, %.3f by the least times", ratio, least))
        }
        lines += r.errors.map { String(format: "relative error at t = %d: %.2e", $0.t, $0.relative) }
        return (lines + [r.forward.machine]).joined(separator: "\n")
    }

    /// The matrix products of the blocks and nothing else, each image on its thread or shared, as the network calls them.
    private func productsAlone(_ network: InferenceDiT, _ pool: ThreadPool, _ precision: Precision) -> Timing {
        let passes = (0..<pool.threadCount).map { _ in InferenceWorkspace(network) }
        let shared = InferenceWorkspace(network, threads: pool.threadCount)
        let dealt = rows / pool.threadCount * pool.threadCount
        return Timing("the blocks' products alone", runs: runs, library: precision.libraries(products.matrixTiles)) {
            pool.run { thread in
                for _ in stride(from: thread, to: dealt, by: pool.threadCount) { network.multiplyAlone(passes[thread]) }
            }
            for _ in dealt..<rows { network.multiplyAlone(shared, group: .pool(pool)) }
        }
    }

    private func errors(_ call: NetworkCall, against reference: InferenceDiT, _ pool: ThreadPool) -> [OutputError] {
        let exact = NetworkCall(reference, model, rows: rows, domains: 1, rank: 0, pool: pool)
        return [20, 500, 999].map { t in
            call.forward(t: Float(t), .one)
            exact.forward(t: Float(t), .one)
            let (a, b) = (call.out.array, exact.out.array)
            let difference = zip(a, b).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
            let size = b.reduce(0.0) { $0 + Double($1) * Double($1) }
            return OutputError(t: t, relative: (difference / size).squareRoot())
        }
    }
}

/// A network with random adapters and random latents, ready to be called.
private struct NetworkCall {
    let out: Matrix
    private let batch: DiTBatch
    private let x: Matrix
    private let pool: ThreadPool
    private let domains: Int

    /// Whose values the rows have: the first adapter's, those of all in turn, or one's with low-rank pairs.
    enum Adapters {
        case one
        case several
        case pairs
        /// As `one`, through a network that holds its zeros.
        case oneOfWhole
    }

    init(_ network: InferenceDiT, _ model: ModelOptions, rows: Int, domains: Int, rank: Int, pool: ThreadPool) {
        let c = network.configuration
        let layout = TunableLayout(c)
        self.pool = pool
        self.domains = domains
        let adapterSlots = AdapterSlots(layout, count: domains + (rank > 0 ? 1 : 0), classRows: c.numClasses + 1)
        let table = ClassTable(
            names: (0..<c.numClasses).map(String.init), values: [Float](repeating: 0.1, count: (c.numClasses + 1) * c.hiddenSize))
        for row in 0..<domains { adapterSlots.install(model.randomVector(layout, seed: UInt64(row)), table, slot: row) }
        if rank > 0 {
            let paired = layout.adding(LowRank(rank: rank, scale: 1, targets: Set(LowRank.Linear.allCases), c))
            adapterSlots.install(model.randomVector(paired, seed: UInt64(domains)), table, slot: domains)
        }
        batch = DiTBatch(network, adapterSlots: adapterSlots, rows: rows, pool: pool)
        let plane = c.inputSize * c.inputSize
        let memory = Memory(capacity: Memory.paddedCount(rows * c.inChannels * plane) + Memory.paddedCount(rows * c.outChannels * plane))
        x = memory.take(rows, c.inChannels * plane)
        out = memory.take(rows, c.outChannels * plane)
        Philox(seed: 1, stream: 3).normals(into: x)
    }

    func forward(t: Float, _ adapters: Adapters) {
        let slots = (0..<x.rows).map { row in
            switch adapters {
            case .one, .oneOfWhole: 0
            case .several: row % domains
            case .pairs: domains
            }
        }
        batch.forward(
            x: x, times: [Float](repeating: t, count: x.rows), classes: [Int](repeating: 1, count: x.rows), slots: slots, into: out)
    }

    var packedBytes: Int { batch.model.packedBytes }

    func conditioningSecondsPerRow(runs: Int) -> Double {
        let rows = DiTBatch.rowsAhead
        let state = ConditioningState(batch.model.configuration, rows: rows)
        let timing = Timing("conditioning of \(rows, "row")", runs: runs) {
            batch.model.condition(
                state, times: (0..<rows).map { Float($0 * 20) }, classes: [Int](repeating: 1, count: rows),
                tunables: [Tunables](repeating: batch.adapterSlots.tunables[0], count: rows), group: .pool(pool))
        }
        return timing.medianSeconds / Double(rows)
    }
}
