import AdapterFormat
import DiTModel
import Diffusion
import GoldenFiles
import TensorMath
import Testing

/// Ten-step runs of the public samplers on the tiny model, latent by latent.
@Suite struct RecordedTrajectoryTests {
    @Test(arguments: [
        (Sampler.ddpm, "sample-ddpm10-cfg4"), (.ddim, "sample-ddim10-cfg1.5"), (.dpmpp2m, "sample-dpmpp2m-10-cfg1.5"),
        (.unipc, "sample-unipc2-10-cfg1.5"),
    ])
    func everyLatentAgreesWithTheRecordedOne(sampler: Sampler, name: String) throws {
        let configuration = GoldenModels.tiny
        let base = try Golden("dit-tiny"), recorded = try Golden(name)
        let layout = TunableLayout(configuration)
        let adapterSlots = AdapterSlots(layout, count: 1, classRows: 11)
        adapterSlots.install(base.vector(layout), base.classTable(10), slot: 0)
        let batch = DiTBatch(
            try InferenceDiT(DiT(configuration, weights: base.weights(configuration))), adapterSlots: adapterSlots, rows: 4, pool: ThreadPool(threads: 1))
        let size = 256, scale = recorded["cfg_scale"][0]
        let labels = recorded["y"].map { Int($0) }
        let plan = try SamplingPlan(sampler, steps: 10, .dit)
        if let timesteps = recorded.tensors["timesteps"] { #expect(plan.rules.map { Float($0.time) } == timesteps.values) }
        let states = (0..<2).map { SamplerState(plan, count: size, seed: 0, image: UInt64($0)) }
        for k in 0..<2 { states[k].latent.copy(from: Array(recorded["x_T"][(k * size)..<((k + 1) * size)])) }
        let memory = Memory(capacity: 8 * 1024 * 2)
        let x = memory.take(4, size), out = memory.take(4, 2 * size), noise = memory.take(size)
        for step in 0..<10 {
            for k in 0..<4 { x.row(k).copy(from: states[k % 2].latent) }
            batch.forward(
                x: x, times: [Float](repeating: states[0].embedderTime, count: 4), classes: labels + [10, 10], slots: [0, 0, 0, 0], into: out)
            // DiT guides three channels, diffusers all four; the last two files are diffusers' schedulers on DiT's own guided output.
            for k in 0..<2 {
                Guidance.apply(scale: scale, guided: 3 * 64, conditional: out.row(k), unconditional: out.row(k + 2))
                if let given = recorded.tensors["noise"] {
                    noise.copy(from: Array(given.values[((step * 2 + k) * size)..<((step * 2 + k + 1) * size)]))
                }
                states[k].advance(out.row(k), noise: noise)
                let expected = Array(recorded["trajectory"][((step * 2 + k) * size)..<((step * 2 + k + 1) * size)])
                #expect(relativeError(states[k].latent.array, expected) < 1e-4, "step \(step), image \(k)")
            }
        }
    }
}
