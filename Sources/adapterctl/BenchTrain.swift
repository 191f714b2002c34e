import AdapterFormat
import AdapterTraining
import ArgumentParser
import DiTModel
import Foundation
import TensorMath

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
