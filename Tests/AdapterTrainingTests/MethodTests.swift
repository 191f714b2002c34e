import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import TensorMath
import Testing

/// What each method moves and what it leaves alone.
@Suite struct MethodTests {
    private func settings(_ steps: Int = 12) -> TrainingSettings {
        var settings = Small.settings(steps: steps, batch: 16)
        settings.learningRate = 5e-3
        return settings
    }

    private func train(_ set: TrainableSet, _ lowRank: LowRank? = nil, _ base: BaseFile, _ settings: TrainingSettings) throws -> TrainingRun {
        let run = try TrainingRun.adapter(
            settings, set, lowRank: lowRank, base: base, model: DiT(base), data: Small.data, pool: ThreadPool(threads: 2))
        while !run.isFinished { try run.advance() }
        return run
    }

    @Test func aLoRARunMovesItsPairsAndTheClassTableAlone() throws {
        let folder = try TemporaryFolder()
        let base = try Small.base(in: folder.path)
        let before = try DiT(base).weights.all.map { $0.array.map(\.bitPattern) }
        let lowRank = LowRank(rank: 2, scale: 2, targets: Set(LowRank.Linear.allCases), base.configuration)
        var settings = settings(40)
        settings.validationShare = 0.3
        settings.validationInterval = 20
        let run = try train(TrainableSet(.lora, base.configuration), lowRank, base, settings)
        let adapter = run.adapter(name: "x", base: base, created: nil)
        #expect(Array(adapter.vector.values.prefix(base.layout.count)) == base.vector.values)
        for tensor in run.layout.tensors where tensor.kind == .lowRank {
            #expect(!adapter.vector.values[tensor.range].allSatisfy { $0 == 0 }, "\(tensor.name)")
        }
        #expect(adapter.manifest.kind == "lora")
        #expect(adapter.manifest.lowRank == lowRank)
        let errors = run.history.heldOut.map(\.error)
        try #require(errors.count == 2, "\(errors)")
        #expect(errors[1] < errors[0], "\(errors)")
        #expect(try DiT(base).weights.all.map { $0.array.map(\.bitPattern) } == before)
        // Through a file and into a slot: the network gives the same.
        try AdapterFile.write(adapter, layout: base.layout, to: folder.path + "/a")
        let read = try AdapterFile.read(path: folder.path + "/a", base: base)
        #expect(read.digest == adapter.digest)
        let model = try InferenceDiT(base)
        let golden = model.goldenValues(read.vector, read.classes, layout: base.layout)
        #expect(golden == model.goldenValues(adapter.vector, adapter.classes, layout: base.layout))
        #expect(golden != model.goldenValues(base.vector, adapter.classes, layout: base.layout))
    }

    /// A second round of training goes on from an adapter: no step away it is that adapter, its classes by name, and it knows its parent.
    @Test func aRunGoesOnFromAnAdapter() throws {
        let folder = try TemporaryFolder()
        let base = try Small.base(in: folder.path)
        let set = TrainableSet(.difffit, base.configuration)
        let first = try train(set, nil, base, settings(4)).adapter(name: "first", base: base, created: nil)
        func run(_ set: TrainableSet, lowRank: LowRank? = nil, data: TrainingData = Small.data) throws -> TrainingRun {
            try TrainingRun.adapter(
                settings(4), set, lowRank: lowRank, base: base, model: DiT(base), data: data, startingAt: first, pool: ThreadPool(threads: 2))
        }
        let second = try run(set)
        #expect(second.values.vector.array == first.vector.values)
        #expect(second.values.classTable.array == first.classes.values)
        try second.advance()
        #expect(second.values.vector.array != first.vector.values)
        #expect(second.adapter(name: "second", base: base, created: nil).manifest.parents == [first.digest])
        // Another site's classes: what is new starts at the null class, what is known where it was.
        let light = try run(set, data: TrainingData(classNames: ["new", "light"], size: 8, images: Small.images, labels: Small.labels, summary: "other"))
        let width = first.classes.width
        #expect(light.values.classTable.row(1).array == Array(first.classes.values[width..<(2 * width)]))
        #expect(light.values.classTable.row(0).array != Array(first.classes.values[..<width]))
        // A checkpoint of one does not go on in a run that starts elsewhere.
        try second.save(to: folder.path + "/c")
        let fresh = try TrainingRun.adapter(settings(4), set, base: base, model: DiT(base), data: Small.data, pool: ThreadPool(threads: 2))
        let difference = TrainingError.Difference(name: "--from", old: first.digest.short, new: "nothing")
        #expect(throws: TrainingError.otherRun(file: folder.path + "/c", differences: [difference])) { try fresh.restore(from: folder.path + "/c") }
        for other in [TrainableSet(.bitfit, base.configuration), TrainableSet(.difffit, gammaDepth: 1)] {
            #expect(throws: TrainingError.self) { try run(other) }
        }
        #expect(throws: TrainingError.self) {
            try run(TrainableSet(.lora, base.configuration), lowRank: LowRank(rank: 2, scale: 1, targets: [.qkv], base.configuration))
        }
    }

    @Test func fullTuningStartsAtTheBaseAndLeavesIt() throws {
        let folder = try TemporaryFolder()
        let base = try Small.base(in: folder.path)
        let run = try train(TrainableSet(.full, base.configuration), nil, base, settings(3))
        let frozen = try DiT(base).weights.all, moved = try #require(run.values.weights?.all)
        for (a, b) in zip(frozen, moved) {
            let most = zip(a.array, b.array).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
            // Adam's step is no longer than a few learning rates.
            #expect(most > 0)
            #expect(most < 4 * 3 * 5e-3)
        }
        try run.writeBase(named: "full", configuration: base.configuration, to: folder.path + "/full", as: .f32)
        #expect(try BaseFile(path: folder.path + "/full").configuration == base.configuration)
    }

    /// Pruned values end as the base's to the last bit, and as many as were asked for.
    @Test func pruningReachesItsShare() throws {
        let folder = try TemporaryFolder()
        let base = try Small.base(in: folder.path)
        var settings = settings(20)
        settings.sparsity = 0.8
        let set = TrainableSet(.difffit, base.configuration)
        let run = try train(set, nil, base, settings)
        let adapter = run.adapter(name: "x", base: base, created: nil)
        let indices = set.tensors(of: base.layout).flatMap(\.range)
        let same = indices.filter { adapter.vector.values[$0].bitPattern == base.vector.values[$0].bitPattern }.count
        #expect(abs(Double(same) / Double(indices.count) - 0.8) < 0.002)
        #expect(adapter.manifest.training?.sparsity == 0.8)
    }

    @Test func anotherResolutionIsRecorded() throws {
        let folder = try TemporaryFolder()
        let base = try Small.base(in: folder.path)
        let model = try DiT(base).resized(to: 16, positionScale: 2)
        let data = Small.pictures(dark: 4, light: 4, size: 16)
        let set = TrainableSet(.difffit, base.configuration)
        let run = try TrainingRun.adapter(settings(2), set, base: base, model: model, data: data, pool: ThreadPool(threads: 2))
        while !run.isFinished { try run.advance() }
        let manifest = run.adapter(name: "x", base: base, created: nil).manifest
        #expect(manifest.resolution == 16)
        #expect(manifest.positionScale == 2)
        #expect(manifest.imageGrid == ImageGrid(size: 16, positionScale: 2))
        #expect(throws: TrainingError.otherSize(images: 8, network: 16)) {
            try TrainingRun.adapter(settings(), set, base: base, model: model, data: Small.data, pool: ThreadPool(threads: 1))
        }
    }

    /// Half the steps of a coordinate: every second position of the fine table is the coarse table's.
    @Test func rescaledPositionsSpanTheBasesRange() {
        var fine = Small.configuration
        fine.inputSize = 16
        let D = fine.hiddenSize
        let coarse = Small.configuration.positions, rescaled = fine.positions(scale: 2)
        for row in 0..<4 {
            for column in 0..<4 {
                let a = coarse[((row * 4 + column) * D)...].prefix(D), b = rescaled[((2 * row * 8 + 2 * column) * D)...].prefix(D)
                #expect(zip(a, b).allSatisfy { abs($0 - $1) < 1e-6 })
            }
        }
    }
}

@Suite struct TokenCutTests {
    private let configuration = Small.configuration

    @Test func wordsAreRead() throws {
        #expect(try TokenCut.read("none", configuration) == nil)
        let plain = try #require(try TokenCut.read("route:0.25@[1,L-1]", configuration))
        #expect(plain.share == 0.25)
        #expect(plain.blocks == 1..<3)
        #expect(plain.route(configuration) == TokenRoute(blocks: 1..<3, kept: 12))
        #expect(try TokenCut.read("route:0@[0,L]", configuration)?.route(configuration) == nil)
        #expect(try TokenCut.read("route:0.9999@[0,L]", configuration)?.route(configuration)?.kept == 1)
        for text in ["", "route", "route:1", "route:-0.1", "route:x", "route:0.3@1,2", "route:0.3@[3,2]", "route:0.3@[0,9]", "route:0.3@[1]", "crop:0.5"] {
            #expect(throws: TrainingError.tokenCut(text, depth: 4)) { try TokenCut.read(text, configuration) }
        }
        // Blocks 2 ..< L-2 of four are none.
        #expect(throws: TrainingError.self) { try TokenCut.read("route:0.3", configuration) }
    }

    @Test func aShareOfNothingIsPlainTraining() throws {
        func bytes(_ cut: String) throws -> [UInt32] {
            var settings = Small.settings(steps: 4)
            settings.tokenCut = cut
            let run = try Small.run(settings)
            while !run.isFinished { try run.advance() }
            return bits(run.values)
        }
        let plain = try bytes("none")
        #expect(try bytes("route:0@[1,3]") == plain)
        #expect(try bytes("route:0.5@[1,3]") != plain)
    }

    @Test func keptTokensAreASetOfTheRightSize() {
        let draws = TrainingDraws(seed: 1, step: 5, image: 2)
        let kept = TokenCut.kept(7, of: 16, draws: draws.token)
        #expect(kept.count == 7)
        #expect(Set(kept).count == 7)
        #expect(kept == kept.sorted())
        #expect(kept.allSatisfy { (0..<16).contains($0) })
        #expect(kept == TokenCut.kept(7, of: 16, draws: draws.token))
        #expect(kept != TokenCut.kept(7, of: 16, draws: TrainingDraws(seed: 1, step: 6, image: 2).token))
    }
}
