import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import ImageFiles
import TensorMath
import Testing

@Suite struct DataTests {
    @Test func aSplitHoldsOutAShareOfEachClassAndLosesNothing() throws {
        let data = Small.pictures(dark: 20, light: 5)
        let (training, heldOut) = data.split(holdingOut: 0.2, seed: 3)
        let aside = try #require(heldOut)
        #expect(training.byClass.map(\.count) == [16, 4])
        #expect(aside.byClass.map(\.count) == [4, 1])
        #expect(Set(pixels(training) + pixels(aside)) == Set(pixels(data)))
        #expect(Set(pixels(training)).isDisjoint(with: pixels(aside)))
        #expect(pixels(data.split(holdingOut: 0.2, seed: 3).training) == pixels(training))
        #expect(pixels(data.split(holdingOut: 0.2, seed: 4).training) != pixels(training))
        #expect(data.split(holdingOut: 0, seed: 3).heldOut == nil)
        // A class of one image is trained on.
        #expect(Small.pictures(dark: 1, light: 1).split(holdingOut: 0.9, seed: 1).heldOut == nil)
    }

    @Test func balancedDrawsShowEveryClassAlike() {
        let data = Small.pictures(dark: 9, light: 3)
        var counts = [0, 0], plain = [0, 0], seen: Set<Int> = []
        for step in 0..<2000 {
            let draw = TrainingDraws(seed: 1, step: step, image: 0).item
            let item = data.item(at: draw, balanced: true)
            seen.insert(item)
            counts[data.labels[item]] += 1
            plain[data.labels[data.item(at: draw, balanced: false)]] += 1
        }
        // Four deviations of a fair coin; of a coin at three quarters for the plain draw.
        #expect(abs(counts[0] - 1000) < 90)
        #expect(abs(plain[0] - 1500) < 80)
        #expect(seen.count == 12)
    }

    /// The same images in one batch or in two whose gradients are added: the same sums in the same order, so the same bytes.
    @Test func accumulatedBatchesAreOneLargeBatch() throws {
        // Sixteen tokens make a chunk of sixteen images; with two shards a batch of 32 leaves each shard its own chunks.
        let large = try Small.run(Small.settings(steps: 3, batch: 64))
        var settings = Small.settings(steps: 3, batch: 32)
        settings.accumulation = 2
        let small = try Small.run(settings)
        for _ in 0..<3 {
            #expect(try large.advance() == small.advance())
        }
        #expect(bits(large.values) == bits(small.values))
    }

    @Test func shardsAndNotThreadsDecideTheBytes() throws {
        var settings = Small.settings(steps: 2, batch: 64)
        settings.shards = 4
        let runs = try [1, 2, 3].map { try Small.run(settings, threads: $0) }
        for run in runs { for _ in 0..<2 { try run.advance() } }
        #expect(bits(runs[0].values) == bits(runs[1].values))
        #expect(bits(runs[0].values) == bits(runs[2].values))
        settings.shards = 2
        let other = try Small.run(settings)
        for _ in 0..<2 { try other.advance() }
        #expect(bits(other.values) != bits(runs[0].values))
    }

    /// With a patience of two looks and a step so large that nothing improves, the run ends early with its best values.
    @Test func aRunThatNoLongerImprovesStopsAndKeepsItsBest() throws {
        var settings = Small.settings(steps: 60, batch: 8)
        settings.learningRate = 0.5
        settings.clip = 1e9
        settings.emaDecay = 0
        settings.validationShare = 0.3
        settings.validationInterval = 1
        settings.patience = 3
        let run = try Small.run(settings)
        while !run.isFinished { try run.advance() }
        #expect(run.step < 60)
        let errors = run.history.heldOut.map(\.error)
        let best = try #require(errors.indices.min { errors[$0] < errors[$1] })
        #expect(best == run.step - 4)
        #expect(bits(run.result) != bits(run.average))
        #expect(run.facts.heldOutError == errors[best])
    }

    private func pixels(_ data: TrainingData) -> [[Float]] {
        let row = Memory(capacity: 3 * data.size * data.size).take(3 * data.size * data.size)
        return (0..<data.count).map { index in
            data.copy(index, flipped: false, into: row)
            return row.array
        }
    }
}
