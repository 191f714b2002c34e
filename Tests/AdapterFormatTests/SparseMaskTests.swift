import AdapterFormat
import Testing

@Suite struct SparseMaskTests {
    /// The cubic schedule of Zhu and Gupta, as FedSparsify writes it, at its ends and in the middle.
    @Test func theShareRisesOnACube() {
        func share(_ step: Int) -> Double { SparseMask.sparsity(atStep: step, from: 100, to: 200, target: 0.8) }
        #expect(share(0) == 0)
        #expect(share(100) == 0)
        #expect(share(200) == 0.8)
        #expect(share(500) == 0.8)
        #expect(abs(share(150) - (0.8 - 0.8 * 0.125)) < 1e-12)
        #expect((100...200).allSatisfy { share($0) >= share($0 - 1) })
    }

    /// A tensor of small changes is not wiped out by one of large changes.
    @Test func changesCountRelativeToTheirTensor() throws {
        let layout = TunableLayout(
            DiTConfiguration(inputSize: 4, patchSize: 2, inChannels: 3, hiddenSize: 4, depth: 1, numHeads: 1, numClasses: 1, learnSigma: false))
        let tensors = try ["x_embedder.proj.bias", "blocks.0.gamma1"].map { try #require(layout[$0]) }
        let base = TunableVector.neutral(layout).values
        var values = base
        // A value outside the tensors is no concern of the mask.
        values[layout.count - 1] = 7
        for (tensor, changes) in zip(tensors, [[100, 1, 200, 2], [0.001, 0.2, 0.002, 0.1]] as [[Float]]) {
            for (index, change) in zip(tensor.range, changes) { values[index] += change }
        }
        func kept(_ sparsity: Double) -> [Bool] {
            let mask = SparseMask.kept(values, over: base, tensors: tensors, sparsity: sparsity)
            let inside = Set(tensors.flatMap(\.range))
            #expect(mask.indices.allSatisfy { inside.contains($0) || mask[$0] })
            return tensors.flatMap(\.range).map { mask[$0] }
        }
        #expect(kept(0.5) == [true, false, true, false, false, true, false, true])
        #expect(kept(0).allSatisfy { $0 })
        #expect(!kept(1).contains(true))
    }
}
