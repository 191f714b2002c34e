import AdapterFormat
import AdapterTraining
import ArgumentParser
import DiTModel
import Foundation
import TensorMath

struct BenchTrain: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train", abstract: "Seconds and memory of one training step: forward, back, AdamW and the average.",
        discussion: "Example: adapterctl bench train --method difffit --model DiT-XL/2 --batch 2 --precision bf16")
    @Option(help: "Images of one step.") var batch = 64
    @Option(help: "Of the matrices' products: f32, bf16 or auto.") var precision = PrecisionChoice.f32.rawValue
    @OptionGroup var method: MethodOptions
    @Option(help: "Parts that the batch is dealt in, each with gradients of its own (default: one per thread).") var shards: Int?
    @Option var runs = 5
    @Flag(help: .hidden) var turns = false
    @OptionGroup var model: ModelOptions
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let step: Timing
        /// The most memory that the process held at a time, and the part of it that is activations and gradients.
        let peakBytes, activationAndGradientBytes: Int
        let trainedValues, allValues: Int
        /// Additions and multiplications of the blocks in a second, over what the processor does on registers.
        let shareOfMachine: Double?
    }

    func run() throws {
        guard (1...4096).contains(batch), (1...10_000).contains(runs), (1...64).contains(shards ?? 1) else {
            throw Failure.usage("--batch is between 1 and 4096, --runs at least 1, --shards between 1 and 64")
        }
        let c = try model.configuration()
        let (set, lowRank) = try method.set(c)
        let precision = try trainingPrecision(precision)
        let step = try TrainedStep(model, c, set, TunableLayout(c).over(lowRank), batch: batch, shards: shards, precision)
        if turns { return try takeTurns(bytes: { ProcessMemory.peakBytes }, step.seconds) }
        let timing = Timing(
            "\(set.method.rawValue) step of \(batch, "image") of \(model.model), \(precision.rawValue)", runs: runs, library: step.library, step.run)
        let result = Result(
            step: timing, peakBytes: ProcessMemory.peakBytes, activationAndGradientBytes: step.gradient.bytes, trainedValues: step.trainedValues,
            allValues: step.allValues,
            shareOfMachine: MachineRates.arithmetic(precision, threads: step.pool.threadCount, step.pool).map {
                operations(c, isFull: set.method == .full) / timing.medianSeconds / $0
            })
        try output.report("bench train", result) {
            """
            \(timing.line)
            \(readable(bytes: result.peakBytes)) at most in memory, \(readable(bytes: result.activationAndGradientBytes)) of it activations and gradients
            \(result.trainedValues) of \(result.allValues) values are trained\(result.shareOfMachine.map { String(format: "; %.0f %% of the processor's rate on registers (bench machine)", 100 * $0) } ?? "")
            \(timing.machine)
            """
        }
    }

    /// Of the blocks' products and attention of one step: the forward pass, the gradients of its inputs, and in full training those of the
    /// matrices.
    private func operations(_ c: DiTConfiguration, isFull: Bool) -> Double {
        let (T, D) = (Double(c.tokens), Double(c.hiddenSize))
        let products = 24 * T * D * D, attention = 4 * T * T * D
        return Double(batch * c.depth) * ((isFull ? 3 : 2) * products + 3 * attention)
    }
}

/// One step of a run over random weights, images and adapters, ready to be repeated.
private final class TrainedStep {
    let gradient: GradientStep
    let trainedValues, allValues: Int
    let library: String
    private let values, firstMoments, secondMoments, average: TrainableValues
    private let moved: [Range<Int>]
    private let x: Matrix
    let pool = ThreadPool()
    private let network: DiT
    /// The matrices that move, where the network has packed copies of them.
    private let repacked: DiT?
    private var number = 0

    init(
        _ model: ModelOptions, _ c: DiTConfiguration, _ set: TrainableSet, _ layout: TunableLayout, batch: Int, shards: Int?, _ precision: Precision
    ) throws {
        let isFull = set.method == .full
        let parts = (0..<4).map { _ in TrainableValues(layout, classes: c.numClasses, withWeights: isFull) }
        (values, firstMoments, secondMoments, average) = (parts[0], parts[1], parts[2], parts[3])
        values.vector.copy(from: model.randomVector(TunableLayout(c), seed: 1).extended(to: layout).values)
        values.weights.map(model.randomise)
        // In full training the moving matrices are the only ones, and at another precision than f32 their packed copies.
        let plain = values.weights.map { DiT(c, weights: $0) }
        repacked = precision == .f32 ? nil : plain
        network =
            try repacked?.packed(at: precision, trainedImages: GradientStep.usualChunk(c)) ?? plain ?? model.randomNetworkForTraining(c, precision)
        library = isFull && precision == .f32 ? blasDescription : precision.libraries(nil)
        gradient = GradientStep(network, layout: layout, classes: c.numClasses, trainsWeights: isFull, pool: pool, shards: shards)
        moved = values.ranges(of: set, in: layout)
        let size = c.inChannels * c.inputSize * c.inputSize
        x = Memory(capacity: Memory.paddedCount(batch * size)).take(batch, size)
        Philox(seed: 1, stream: 3).normals(into: x)
        let matrices = c.frozenTensors.reduce(0) { $0 + $1.count }
        trainedValues = set.count(in: layout, classes: c.numClasses) + (isFull ? matrices : 0)
        allValues = matrices + layout.count + values.classTable.count
    }

    func run() {
        if let repacked { network.repack(from: repacked, pool: pool) }
        gradient.run(
            x: x, times: [Float](repeating: 500, count: x.rows), classes: [Int](repeating: 1, count: x.rows), tunables: values.tunables
        ) { _, output, slope in slope.copy(from: output) }
        gradient.finish()
        number += 1
        takeStep(
            values, m: firstMoments, v: secondMoments, average: average, gradients: gradient.gradients, moved: moved, step: number,
            AdamWSettings(learningRate: 1e-4), decay: 0.9999, pool: pool)
    }

    func seconds() -> Double {
        let start = ContinuousClock.now
        run()
        return (ContinuousClock.now - start) / .seconds(1)
    }
}
