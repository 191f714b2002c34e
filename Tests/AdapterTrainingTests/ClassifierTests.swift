import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import ImageFiles
import TensorMath
import Testing

/// Telling pictures apart with the network's own outputs.
@Suite struct ClassifierTests {
    private static let configuration = DiTConfiguration(
        inputSize: 8, patchSize: 4, inChannels: 3, hiddenSize: 24, depth: 2, numHeads: 2, numClasses: 5, learnSigma: true)

    /// Against central differences of the loss.
    @Test func theGradientIsTheLossesSlope() {
        let head = ClassHead(Self.configuration), count = 6 * 8 * 8
        let memory = Memory(capacity: 4096)
        let output = memory.take(count), gradient = memory.take(count), scratch = memory.take(head.scratchCount), unused = memory.take(count)
        Philox(seed: 3, stream: 1).normals(into: output)
        let loss = head.loss(output, label: 2, scale: 1, scratch: scratch, gradient: gradient)
        #expect(loss > 0)
        for place in stride(from: 0, to: count, by: 7) {
            let kept = output[0, place], step: Float = 0.05
            output[0, place] = kept + step
            let above = head.loss(output, label: 2, scale: 1, scratch: scratch, gradient: unused)
            output[0, place] = kept - step
            let below = head.loss(output, label: 2, scale: 1, scratch: scratch, gradient: unused)
            output[0, place] = kept
            #expect(abs((above - below) / (2 * step) - gradient[0, place]) < 2e-3, "value \(place)")
        }
        #expect(head.loss(output, label: 2, scale: 0.25, scratch: scratch, gradient: unused) == loss)
        #expect(abs(unused[0, 9] - gradient[0, 9] / 4) < 1e-6)
    }

    @Test func anOutputOfNothingIsAnEvenGuess() {
        let head = ClassHead(Self.configuration), memory = Memory(capacity: 4096)
        let output = memory.take(6 * 8 * 8), gradient = memory.take(6 * 8 * 8)
        output.fill(0)
        let loss = head.loss(output, label: 0, scale: 1, scratch: memory.take(head.scratchCount), gradient: gradient)
        #expect(abs(loss - 1.6094379) < 1e-5)  // log 5
    }

    /// Five plain colours are told apart after a few steps, and a held-out share of them too.
    @Test func coloursAreLearned() throws {
        let colours: [[UInt8]] = [[250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 250], [0, 0, 0]]
        let labels = (0..<50).map { $0 % 5 }
        let images = labels.enumerated().map { index, label in
            RGBImage(width: 8, height: 8, pixels: (0..<64).flatMap { _ in colours[label].map { $0 / 2 + UInt8(index) } })
        }
        let data = TrainingData(classNames: ["r", "g", "b", "w", "k"], size: 8, images: images, labels: labels, summary: "colours")
        var settings = TrainingSettings(steps: 60, batch: 10, seed: 1, learningRate: 3e-3)
        settings.validationShare = 0.2
        let convention = try DiffusionConvention(pathNamed: "linear", predictionNamed: "x0", learnSigma: false, timeScale: 1000)
        let pool = ThreadPool(threads: 2)
        let run = try TrainingRun.classifier(settings, Self.configuration, convention: convention, data: data, pool: pool)
        #expect(run.facts.images == 40)
        while !run.isFinished { try run.advance() }
        #expect(run.history.losses.last! < 0.8 * run.history.losses[0])
        let error = try #require(run.facts.heldOutError)
        #expect(error < 0.2)
    }
}
