import AdapterFormat
import AdapterTraining
import DiTModel
import Foundation
import TensorMath
import Testing

/// A run that was stopped and taken up again ends in the same bytes as one that was not.
@Suite struct ResumeTests {
    private func settings(seed: UInt64 = 7) -> TrainingSettings {
        var settings = Small.settings(steps: 8, batch: 4, seed: seed)
        settings.flips = true
        settings.accumulation = 2
        settings.balancesClasses = true
        settings.validationShare = 0.2
        settings.validationInterval = 2
        settings.patience = 100
        settings.tokenCut = "route:0.3@[1,L-1]"
        settings.sparsity = 0.5
        settings.lossWeighting = "min-snr:5"
        return settings
    }

    @Test func resumedBytesAreTheUninterruptedOnes() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/checkpoint"
        let whole = try Small.run(settings())
        for _ in 0..<8 { try whole.advance() }
        let first = try Small.run(settings())
        for _ in 0..<5 { try first.advance() }
        try first.save(to: path)
        let second = try Small.run(settings())
        try second.restore(from: path)
        #expect(second.step == 5)
        for _ in 0..<3 { try second.advance() }
        for (a, b) in [(whole.values, second.values), (whole.average, second.average), (whole.secondMoments, second.secondMoments), (whole.result, second.result)] {
            #expect(bits(a) == bits(b))
        }
        #expect(whole.history == second.history)
        #expect(whole.history.heldOut.count == 4)
        #expect(whole.history.losses[5] != whole.history.losses[0])
        #expect(whole.history.csv == second.history.csv)
    }

    @Test func aCheckpointOfAnotherRunIsRefused() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/checkpoint"
        try Small.run(settings()).save(to: path)
        #expect(throws: TrainingError.otherRun(file: path, what: "settings")) { try Small.run(settings(seed: 8)).restore(from: path) }
    }
}
