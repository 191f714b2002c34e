import AdapterFormat
import AdapterTraining
import DiTModel
import TensorMath
import Testing

@Suite struct RankSearchTests {
    /// Against every allocation there is: none within the budget holds more energy than the one that is found.
    @Test func noAllocationHoldsMoreEnergy() {
        let spectra = ["a": [9.0, 4, 1, 0.5], "b": [8.0, 0.1, 0, 0], "c": [2.0, 1.9, 1.8, 0.2]]
        for budget in 0...9 {
            let found = RankSearch.ranks(spectra, budget: budget, largest: 3) { _ in 1 }
            func energy(_ ranks: [String: Int]) -> Double { ranks.reduce(0.0) { $0 + (spectra[$1.key] ?? []).prefix($1.value).reduce(0, +) } }
            var best = 0.0
            for a in 0...3 { for b in 0...3 { for c in 0...3 where a + b + c <= budget { best = max(best, energy(["a": a, "b": b, "c": c])) } } }
            #expect(abs(energy(found) - best) < 1e-9, "budget \(budget): \(found)")
            #expect(found.values.allSatisfy { (1...3).contains($0) })
        }
    }

    @Test func aRankThatCostsMoreMustHoldMore() {
        let ranks = RankSearch.ranks(["cheap": [5, 5], "dear": [9, 9]], budget: 3, largest: 4) { $0 == "dear" ? 2 : 1 }
        #expect(ranks == ["cheap": 2])
        #expect(RankSearch.ranks(["still": [0, 0]], budget: 10, largest: 4) { _ in 1 }.isEmpty)
    }

    @Test func spectraBelongToEveryLayer() throws {
        let folder = try TemporaryFolder()
        let base = try Small.base(in: folder.path)
        func spectra(_ batches: Int) throws -> [String: [Double]] {
            try RankSearch.spectra(
                Small.settings(), [.qkv, .fc2], base: base, model: DiT(base), data: Small.data, batches: batches, pool: ThreadPool(threads: 2))
        }
        let found = try spectra(2)
        #expect(found.count == 8)
        #expect(found.keys.allSatisfy { $0.hasSuffix("attn.qkv") || $0.hasSuffix("mlp.fc2") })
        for (name, spectrum) in found {
            try #require(spectrum.count == 32, "\(name)")
            #expect(spectrum == spectrum.sorted(by: >), "\(name)")
            #expect(spectrum.allSatisfy { $0 >= 0 }, "\(name)")
            #expect(spectrum[0] > 0, "\(name)")
        }
        #expect(try spectra(2) == found)
        #expect(try spectra(1) != found)
    }
}

@Suite struct DataPickerTests {
    /// Four tight heaps of three in each class: one picture of each heap stands for it.
    @Test func oneOfEveryHeapIsPicked() {
        let data = Small.pictures(dark: 12, light: 12)
        let features = Memory(capacity: 24 * 16).take(24, 2)
        for image in 0..<24 {
            let heap = image % 4
            features[image, 0] = Float(heap % 2) * 10 + Float(image) * 0.01
            features[image, 1] = Float(heap / 2) * 10 - Float(image) * 0.01
        }
        for seed in UInt64(0)..<8 {
            let picked = DataPicker.pick(data, features: features, share: 8.0 / 12, seed: seed, pool: ThreadPool(threads: 2))
            #expect(picked.count == 16)
            #expect(Set(picked).count == 16)
            #expect(picked == picked.sorted())
            #expect(picked.count { $0 < 12 } == 8)
            for first in [0, 12] {
                let heaps = Set(picked.filter { (first..<(first + 12)).contains($0) }.map { $0 % 4 })
                #expect(heaps.count == 4, "seed \(seed)")
            }
        }
        #expect(DataPicker.pick(data, features: features, share: 0.01, seed: 1, pool: ThreadPool(threads: 1)).count == 2)
    }
}
