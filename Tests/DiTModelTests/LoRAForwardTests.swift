import AdapterFormat
import DiTModel
import Foundation
import GoldenFiles
import TensorMath
import Testing

/// What diffusers' network computes with adapters that PEFT merged into its matrices (tools/goldens/lora.py), and what this one
/// computes with the pairs of the same files beside them.
@Suite struct LoRAForwardTests {
    private static let goldens = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens").path

    @Test(arguments: ["peft", "peft-rslora", "peft-bias", "peft-embedding", "diffusers", "kohya.safetensors", "processor.safetensors"])
    func pairsBesideAreMatricesMerged(name: String) throws {
        let base = try BaseFile(path: Self.goldens + "/containers/diffusers")
        let reading = AdapterReading(loraAlpha: name == "processor.safetensors" ? 5 : nil)
        let adapter = try AdapterFile.read(path: "\(Self.goldens)/lora/\(name)", base: base, as: reading)
        let recorded = try Golden("lora/forward")
        let adapterSlots = AdapterSlots(base.layout, count: 1, classRows: adapter.classes.rows)
        adapterSlots.install(adapter.vector, adapter.classes, slot: 0)
        let batch = DiTBatch(try InferenceDiT(base, preset: .diffusers), adapterSlots: adapterSlots, rows: 2, pool: ThreadPool(threads: 1))
        let out = Memory(capacity: 512).take(2, 128)
        batch.forward(x: recorded.matrix("x", rows: 2), times: recorded["t"], classes: recorded["y"].map { Int($0) }, slots: [0, 0], into: out)
        let truth = recorded["out." + (name == "kohya.safetensors" ? "peft" : name.replacing(".safetensors", with: ""))]
        #expect(relativeError(out.array, truth) < 1e-5)
        // The adapter does something, so that its absence would be seen.
        #expect(relativeError(truth, recorded["out.base"]) > 0.01)
    }
}
