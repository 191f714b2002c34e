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
        for (a, b) in [
            (whole.values, second.values), (whole.average, second.average), (whole.secondMoments, second.secondMoments), (whole.result, second.result),
        ] {
            #expect(bits(a) == bits(b))
        }
        #expect(whole.history == second.history)
        #expect(whole.history.heldOut.count == 4)
        #expect(whole.history.losses[5] != whole.history.losses[0])
        #expect(whole.history.csv == second.history.csv)
    }

    /// Every setting that differs is named with both values; the number of steps is none of them.
    @Test func aCheckpointOfAnotherRunIsRefusedByEachDifference() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/checkpoint"
        let first = try Small.run(settings())
        for _ in 0..<2 { try first.advance() }
        try first.save(to: path)
        var other = settings(seed: 8)
        other.learningRate = 0.5
        other.flips = false
        other.patience = nil
        other.steps = 20
        let wanted = [
            TrainingError.Difference(name: "--flip", old: "on", new: "off"), TrainingError.Difference(name: "--learning-rate", old: "0.01", new: "0.5"),
            TrainingError.Difference(name: "--early-stop", old: "100", new: "not set"), TrainingError.Difference(name: "--seed", old: "7", new: "8"),
        ]
        #expect(throws: TrainingError.otherRun(file: path, differences: wanted)) { try Small.run(other).restore(from: path) }
        #expect { try Small.run(settings(), data: Small.pictures(dark: 5, light: 5)).restore(from: path) } throws: {
            "\($0)".contains("the pictures was 9 of 2 classes")
        }
        #expect(TrainingRun.progress(ofCheckpoint: path)?.step == 2)
        #expect(TrainingRun.progress(ofCheckpoint: path)?.steps == 8)
        var short = settings()
        short.steps = 1
        #expect(throws: TrainingError.fewerSteps(1, than: 2)) { try Small.run(short).restore(from: path) }
    }

    /// A run that is done goes on to more steps, from its own values and moments.
    @Test func moreStepsFollowTheEndOfARun() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/finished"
        let first = try Small.run(settings())
        while !first.isFinished { try first.advance() }
        try first.save(to: path)
        var more = settings()
        more.steps = 12
        let second = try Small.run(more)
        try second.restore(from: path)
        #expect(second.step == 8)
        #expect(!second.isFinished)
        #expect(bits(second.values) == bits(first.values))
        while !second.isFinished { try second.advance() }
        #expect(second.step == 12)
        #expect(second.history.losses.prefix(8).elementsEqual(first.history.losses))
    }
}
