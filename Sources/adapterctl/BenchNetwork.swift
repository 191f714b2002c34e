import AdapterFormat
import AdapterTraining
import ArgumentParser
import DiTModel
import Foundation
import TensorMath

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
        let network = model.randomModel(c)
        let pool = ComputePool()
        let batch = DiTBatch(network, bank: bank, rows: rows, pool: pool)
        let plane = c.inputSize * c.inputSize
        let memory = Memory(capacity: Memory.paddedCount(rows * c.inChannels * plane) + Memory.paddedCount(rows * c.outChannels * plane))
        let x = memory.take(rows, c.inChannels * plane), out = memory.take(rows, c.outChannels * plane)
        NoiseStream(seed: 1, stream: 3).normals(into: x)
        let timing = Timing("forward of \(rows) rows of \(model.model), \(domains) domains, f32", runs: runs) {
            batch.forward(
                x: x, times: [Float](repeating: 500, count: rows), classes: [Int](repeating: 1, count: rows), bankRows: (0..<rows).map { $0 % domains },
                into: out)
        }
        let products = products(network, pool)
        // Per row: the blocks' products, and the two of attention.
        let (T, D) = (Double(c.tokens), Double(c.hiddenSize))
        let blocks = Double(c.depth) * 24 * T * D * D, attention = Double(c.depth) * 4 * T * T * D
        let result = Result(
            forward: timing, sgemmAlone: products, share: (blocks + attention) / blocks * products.medianSeconds / timing.medianSeconds)
        try output.report("bench forward", result) {
            "\(timing.line)\n\(products.line)\n\(String(format: "%.0f", result.share * 100)) % of the arithmetic rate of sgemm alone\n\(timing.machine)"
        }
    }

    struct Result: Encodable {
        let forward, sgemmAlone: Timing
        /// Floating-point operations a second of the whole call over those of sgemm alone at the blocks' shapes.
        let share: Double
    }

    /// The matrix products of the blocks and nothing else, each image on its lane, as the network calls them.
    private func products(_ network: DiT, _ pool: ComputePool) -> Timing {
        let (T, D) = (network.configuration.tokens, network.configuration.hiddenSize)
        let memory = Memory(capacity: rows * 2 * Memory.paddedCount(4 * T * D))
        let sides = (0..<rows).map { _ in (memory.take(T, 4 * D), memory.take(T, 4 * D)) }
        for side in sides { NoiseStream(seed: 1, stream: 5).normals(into: side.0) }
        return Timing("sgemm alone, the blocks' products", runs: runs) {
            pool.forEach(rows) { row in
                let (x, y) = sides[row]
                let narrow = x.values(0..<(T * D)).reshaped(T, D)
                for block in network.weights.blocks {
                    multiply(.plain(narrow), .transposed(block.qkv), into: y.values(0..<(3 * T * D)).reshaped(T, 3 * D))
                    multiply(.plain(narrow), .transposed(block.proj), into: y.values(0..<(T * D)).reshaped(T, D))
                    multiply(.plain(narrow), .transposed(block.fc1), into: y)
                    multiply(.plain(x), .transposed(block.fc2), into: y.values(0..<(T * D)).reshaped(T, D))
                }
            }
        }
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
