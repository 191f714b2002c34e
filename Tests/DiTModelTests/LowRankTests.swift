import AdapterFormat
import DiTModel
import GoldenFiles
import TensorMath
import Testing

/// LoRA beside DiffFit on the recorded model: the pairs are never added into a matrix.
@Suite struct LowRankTests {
    private let configuration = GoldenModels.tiny
    private let base: Golden
    private let layout: TunableLayout
    private let classes: ClassTable

    init() throws {
        base = try Golden("dit-tiny")
        layout = TunableLayout(configuration)
        classes = base.classTable(10)
    }

    private func vector(_ lowRank: LowRank, seed: UInt64) -> TunableVector {
        let extended = layout.adding(lowRank)
        var values = base.vector(layout).extended(to: extended).values
        var noise = [Float](repeating: 0, count: values.count)
        Philox(seed: seed, stream: 0).normals(into: &noise)
        for tensor in extended.tensors where tensor.kind == .lowRank {
            for index in tensor.range { values[index] = 0.1 * noise[index] }
        }
        return TunableVector(values, layout: extended)
    }

    private func outputs(_ network: DiT, _ vectors: [TunableVector], images: [Int], _ form: NetworkForm? = nil) throws -> [[Float]] {
        let model = try InferenceDiT(network, precision: form?.precision ?? .f32, matrixTiles: form?.matrixTiles)
        let adapterSlots = AdapterSlots(layout, count: vectors.count, classRows: 11)
        for (row, vector) in vectors.enumerated() { adapterSlots.install(vector, classes, slot: row) }
        let batch = DiTBatch(model, adapterSlots: adapterSlots, rows: images.count, pool: ThreadPool(threads: 2))
        let memory = Memory(capacity: images.count * (256 + 512))
        let x = memory.take(images.count, 256), out = memory.take(images.count, 512)
        for (row, _) in images.enumerated() { Philox(seed: 4, stream: 1).normals(into: x.row(row)) }
        batch.forward(x: x, times: images.map { _ in 500 }, classes: images.map { _ in 3 }, slots: images, into: out)
        return images.indices.map { out.row($0).array }
    }

    /// W + scale B A in a working copy gives what the pairs beside W give. Ranks above and below one slice.
    @Test(arguments: [3, 64, 65])
    func unfusedIsFused(rank: Int) throws {
        let lowRank = LowRank(rank: min(rank, 64), scale: 0.5, targets: Set(LowRank.Linear.allCases), configuration)
        // The widest slice is tried where a layer is wide enough for it.
        var ranks = lowRank.ranks
        if rank > 64 { ranks["blocks.0.attn.qkv"] = rank }
        let pairs = LowRank(ranks: ranks, scale: 0.5)
        let extended = layout.adding(pairs)
        let vector = vector(pairs, seed: 1)
        let copy = Weights.allocate(configuration)
        for ((name, matrix), target) in zip(zip(configuration.frozenTensors.map(\.name), base.weights(configuration).all), copy.weights.all) {
            target.copy(from: matrix)
            let names = LowRank.names(of: String(name.dropLast(".weight".count)))
            guard let a = extended[names.a], let b = extended[names.b] else { continue }
            let rank = a.shape[0]
            for output in 0..<target.rows {
                for input in 0..<target.columns {
                    let sum = (0..<rank).reduce(0.0) { sum, r in
                        sum + Double(vector.values[b.range.lowerBound + output * rank + r])
                            * Double(vector.values[a.range.lowerBound + r * target.columns + input])
                    }
                    target[output, input] += Float(0.5 * sum)
                }
            }
        }
        let unfused = try outputs(DiT(configuration, weights: base.weights(configuration)), [vector], images: [0])[0]
        let fused = try outputs(DiT(configuration, weights: copy.weights), [base.vector(layout)], images: [0])[0]
        let plain = try outputs(DiT(configuration, weights: base.weights(configuration)), [base.vector(layout)], images: [0])[0]
        #expect(relativeError(unfused, fused) < 1e-5)
        #expect(relativeError(plain, fused) > 1e-2)
    }

    /// At a lower precision the pairs' effect is that at float32, but for the precision's own error.
    @Test(arguments: NetworkForm.all)
    func pairsWorkAtEveryPrecision(form: NetworkForm) throws {
        let network = DiT(configuration, weights: base.weights(configuration))
        let vectors = [base.vector(layout), vector(LowRank(rank: 8, scale: 2, targets: Set(LowRank.Linear.allCases), configuration), seed: 1)]
        let exact = try outputs(network, vectors, images: [0, 1]), rounded = try outputs(network, vectors, images: [0, 1], form)
        let own = relativeError(rounded[0], exact[0])
        #expect(relativeError(rounded[1], exact[1]) < 3 * own + 0.02, "\(form)")
        #expect(relativeError(exact[1], exact[0]) > 0.2)
    }

    /// LoRA of two kinds and DiffFit in one batch: each image has the bytes that it has alone.
    @Test(arguments: NetworkForm.all)
    func kindsMixInOneBatch(form: NetworkForm) throws {
        let model = DiT(configuration, weights: base.weights(configuration))
        let difffit = try Golden("difffit-tiny-adapter").vector(layout, over: base.vector(layout))
        let vectors = [
            vector(LowRank(rank: 4, targets: [.qkv], configuration), seed: 1), difffit, base.vector(layout),
            vector(LowRank(rank: 2, scale: 2, targets: Set(LowRank.Linear.allCases), configuration), seed: 2),
        ]
        let together = try outputs(model, vectors, images: [0, 1, 2, 3, 0], form)
        for (row, vector) in vectors.enumerated() {
            let alone = try outputs(model, [vector], images: [0], form)[0]
            #expect(alone.map(\.bitPattern) == together[row].map(\.bitPattern), "row \(row)")
        }
        #expect(together[0] == together[4])
        #expect(Set(together.prefix(4)).count == 4)
    }

    /// A thousand swaps between kinds: the matrices never change, and neither does what a row gives when its adapter is back.
    @Test func aThousandSwapsLeaveNoTrace() throws {
        let weights = base.weights(configuration)
        let before = weights.all.map { $0.array.map(\.bitPattern) }
        let vectors = [
            base.vector(layout), vector(LowRank(rank: 4, targets: [.qkv], configuration), seed: 1),
            vector(LowRank(rank: 4, targets: [.qkv], configuration), seed: 2),
            vector(LowRank(rank: 2, targets: Set(LowRank.Linear.allCases), configuration), seed: 3),
        ]
        let adapterSlots = AdapterSlots(layout, count: 2, classRows: 11)
        let batch = DiTBatch(try InferenceDiT(DiT(configuration, weights: weights)), adapterSlots: adapterSlots, rows: 1, pool: ThreadPool(threads: 1))
        let memory = Memory(capacity: 256 + 512)
        let x = memory.take(256), out = memory.take(512)
        Philox(seed: 4, stream: 1).normals(into: x)
        func output(_ row: Int) -> [UInt32] {
            batch.forward(x: x, times: [500], classes: [3], slots: [row], into: out)
            return out.array.map(\.bitPattern)
        }
        let expected = vectors.map { vector in
            adapterSlots.install(vector, classes, slot: 0)
            return output(0)
        }
        var state: UInt64 = 1
        for swap in 0..<1000 {
            state = state &* 6_364_136_223_846_793_005 &+ 1
            let (index, row) = (Int(state >> 33) % 4, Int(state >> 40) % 2)
            adapterSlots.install(vectors[index], classes, slot: row)
            if swap % 50 == 0 { #expect(output(row) == expected[index]) }
        }
        adapterSlots.install(vectors[0], classes, slot: 0)
        #expect(output(0) == expected[0])
        #expect(adapterSlots.read(slot: 0) == vectors[0])
        #expect(weights.all.map { $0.array.map(\.bitPattern) } == before)
    }
}
