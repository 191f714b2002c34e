import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import Foundation
import ImageFiles
import TensorMath
import Testing

/// A run that was stopped and taken up again ends in the same bytes as one that was not.
@Suite struct ResumeTests {
    private let configuration = DiTConfiguration(
        inputSize: 8, patchSize: 4, inChannels: 3, hiddenSize: 32, depth: 2, numHeads: 2, numClasses: 2, learnSigma: false)
    private let data = TrainingData(
        classNames: ["dark", "light"], size: 8,
        images: (0..<6).map { RGBImage(width: 8, height: 8, filledWith: $0 < 3 ? (20, 10, UInt8($0)) : (240, 250, UInt8(250 - $0))) },
        labels: [0, 0, 0, 1, 1, 1], summary: "test")

    private func run(seed: UInt64 = 7) throws -> TrainingRun {
        var settings = TrainingSettings(steps: 6, batch: 5, seed: seed, learningRate: 1e-2)
        settings.flips = true
        let objective = TrainingObjective(try DiffusionConvention(path: .linear, prediction: .x0))
        return try TrainingRun.base(settings, configuration, objective: objective, data: data, pool: ComputePool(lanes: 2))
    }

    @Test func resumedBytesAreTheUninterruptedOnes() throws {
        let path = NSTemporaryDirectory() + "resume-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let whole = try run()
        for _ in 0..<6 { try whole.advance() }
        let first = try run()
        for _ in 0..<3 { try first.advance() }
        try first.save(to: path)
        let second = try run()
        try second.restore(from: path)
        #expect(second.step == 3)
        for _ in 0..<3 { try second.advance() }
        for (a, b) in [(whole.values, second.values), (whole.average, second.average), (whole.secondMoments, second.secondMoments)] {
            #expect(a.all.array.map(\.bitPattern) == b.all.array.map(\.bitPattern))
        }
        #expect(whole.losses == second.losses)
        #expect(whole.losses[5] != whole.losses[0])
    }

    @Test func aCheckpointOfAnotherRunIsRefused() throws {
        let path = NSTemporaryDirectory() + "resume-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try run().save(to: path)
        #expect(throws: TrainingError.otherRun(file: path, what: "settings")) { try run(seed: 8).restore(from: path) }
    }
}
