import AdapterFormat
import AdapterTraining
import ArgumentParser
import DiTModel
import Foundation
import TensorMath

struct BenchTrain: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train", abstract: "Seconds and memory of one training step: forward, back, AdamW and the average.",
        discussion: "Example: adapterctl bench train --method full --model DiT-XL/2 --batch 2")
    @Option(help: "Images of one step.") var batch = 64
    @OptionGroup var method: MethodOptions
    @Option(help: "Parts that the batch is dealt in, each with gradients of its own (default: one per thread).") var shards: Int?
    @Option var runs = 5
    @OptionGroup var model: ModelOptions
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let step: Timing
        /// The most memory that the process held at a time, and the part of it that is activations and gradients.
        let peakBytes, activationAndGradientBytes: Int
        let trainedValues, allValues: Int
    }

    func run() throws {
        guard (1...4096).contains(batch), (1...10_000).contains(runs), (1...64).contains(shards ?? 1) else {
            throw Failure.usage("--batch is between 1 and 4096, --runs at least 1, --shards between 1 and 64")
        }
        let c = try model.configuration()
        let (set, lowRank) = try method.set(c)
        let isFull = set.method == .full
        let layout = TunableLayout(c).over(lowRank)
        let pool = ComputePool()
        let parts = (0..<4).map { _ in TrainableValues(layout, classes: c.numClasses, withWeights: isFull) }
        let (values, m, v, average) = (parts[0], parts[1], parts[2], parts[3])
        values.vector.copy(from: model.randomVector(TunableLayout(c), seed: 1).extended(to: layout).values)
        // In full training the moving matrices are the only ones.
        let network = values.weights.map { DiT(c, weights: $0) } ?? model.randomModel(c)
        for (index, matrix) in (values.weights?.all ?? []).enumerated() {
            NoiseStream(seed: 1, stream: UInt64(10 + index)).normals(into: matrix)
            matrix.withMutableSpan { for i in $0.indices { $0[i] *= 0.02 } }
        }
        let step = GradientStep(network, layout: layout, classes: c.numClasses, trainsWeights: isFull, pool: pool, shards: shards)
        let moved = values.ranges(of: set, in: layout)
        let size = c.inChannels * c.inputSize * c.inputSize
        let x = Memory(capacity: Memory.paddedCount(batch * size)).take(batch, size)
        NoiseStream(seed: 1, stream: 3).normals(into: x)
        var number = 0
        let optimiser = AdamWSettings(learningRate: 1e-4)
        let timing = Timing("\(set.method.rawValue) step of \(batch) images of \(model.model)", runs: runs) {
            step.run(
                x: x, times: [Float](repeating: 500, count: batch), classes: [Int](repeating: 1, count: batch), tunables: values.tunables
            ) { _, output, slope in slope.copy(from: output) }
            step.finish()
            number += 1
            pool.run { lane in
                for range in moved {
                    let share = pool.share(of: range.count, lane: lane)
                    let part = (range.lowerBound + share.lowerBound)..<(range.lowerBound + share.upperBound)
                    adamW(
                        values.all.values(part), m: m.all.values(part), v: v.all.values(part), g: step.gradients.all.values(part), step: number,
                        optimiser)
                    updateAverage(average.all.values(part), with: values.all.values(part), decay: 0.9999)
                }
            }
        }
        let all = network.weights.all.reduce(0) { $0 + $1.count }
        let result = Result(
            step: timing, peakBytes: Self.peakBytes, activationAndGradientBytes: step.bytes,
            trainedValues: set.count(in: layout, classes: c.numClasses) + (isFull ? all : 0), allValues: all + layout.count)
        try output.report("bench train", result) {
            """
            \(timing.line)
            \(readable(bytes: result.peakBytes)) at most in memory, \(readable(bytes: result.activationAndGradientBytes)) of it activations and gradients
            \(result.trainedValues) of \(result.allValues) values are trained
            \(timing.machine)
            """
        }
    }

    /// The kernel's high-water mark of this process.
    private static var peakBytes: Int {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
        return (line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 1024
    }
}
