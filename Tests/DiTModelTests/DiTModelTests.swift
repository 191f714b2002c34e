import AdapterFormat
import DiTModel
import GoldenFiles
import TensorMath
import Testing

/// The network against outputs recorded from the public implementations.
@Suite struct ForwardTests {
    @Test(arguments: ["dit-tiny", "dit-pixel"])
    func everyStageAgreesWithTheRecordedOne(name: String) throws {
        let configuration = name == "dit-tiny" ? GoldenModels.tiny : GoldenModels.pixel
        let file = try Golden(name), recorded = try Golden(name + "-forward")
        let layout = TunableLayout(configuration)
        let adapterSlots = AdapterSlots(layout, count: 1, classRows: configuration.numClasses + 1)
        adapterSlots.install(file.vector(layout), file.classTable(configuration.numClasses), slot: 0)
        let weights = file.weights(configuration)
        let count = recorded["t"].count
        let labels = recorded["y"].map { Int($0) }
        let tunables = [Tunables](repeating: adapterSlots.tunables[0], count: count)

        let conditioning = ConditioningState(configuration, rows: count)
        Conditioning.forward(
            conditioning, times: recorded["t"], classes: labels, tunables: tunables, weights: weights, preset: .original)
        // One unit in the last place of a frequency, times t = 999, is 6e-5 of a turn: libraries round their exp differently.
        #expect(relativeError(conditioning.sinusoids.array, recorded["timestep_frequencies"]) < 5e-5)
        #expect(relativeError(conditioning.timeEmbedding.array, recorded["t_embed"]) < 1e-5)
        #expect(relativeError(conditioning.c.array, recorded["c"]) < 1e-5)

        let model = try InferenceDiT(DiT(configuration, weights: weights))
        let out = Memory(capacity: recorded["out"].count + 16).take(count, recorded["out"].count / count)
        var stages: [[Float]] = []
        model.forward(
            x: recorded.matrix("x", rows: count), times: recorded["t"], classes: labels, tunables: adapterSlots.tunables[0], into: out,
            onStage: { stages.append($0) })
        let names = ["tokens"] + (0..<configuration.depth).map { "block.\($0)" }
        #expect(stages.count == names.count)
        for (name, stage) in zip(names, stages) { #expect(relativeError(stage, recorded[name]) < 1e-5, "\(name)") }
        #expect(relativeError(out.array, recorded["out"]) < 1e-5)
    }

    @Test func theDiffusersPresetIsDiffusersFunctionOfTheSameWeights() throws {
        let configuration = GoldenModels.tiny
        let file = try Golden("dit-tiny"), recorded = try Golden("dit-tiny-diffusers-forward")
        let layout = TunableLayout(configuration)
        let adapterSlots = AdapterSlots(layout, count: 1, classRows: 11)
        adapterSlots.install(file.vector(layout), file.classTable(10), slot: 0)
        let count = recorded["t"].count
        let model = try InferenceDiT(DiT(configuration, weights: file.weights(configuration), preset: .diffusers))
        let batch = DiTBatch(model, adapterSlots: adapterSlots, rows: count, pool: ThreadPool(threads: 2))
        let out = Memory(capacity: recorded["out"].count + 16).take(count, recorded["out"].count / count)
        batch.forward(
            x: recorded.matrix("x", rows: count), times: recorded["t"], classes: recorded["y"].map { Int($0) },
            slots: [Int](repeating: 0, count: count), into: out)
        #expect(relativeError(out.array, recorded["out"]) < 1e-5)
    }
}
