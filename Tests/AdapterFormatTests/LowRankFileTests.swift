import AdapterFormat
import Foundation
import TensorFiles
import Testing

/// LoRA adapters as files: public names, and every way in which one does not fit.
@Suite final class LowRankFileTests {
    private let base: BaseFile
    private let folder = NSTemporaryDirectory() + "lora-\(UUID().uuidString)"

    init() throws {
        let golden = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/dit-tiny.safetensors")
        base = try BaseFile(path: golden.path)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: URL(filePath: folder)) }

    private func adapter(_ lowRank: LowRank) -> Adapter {
        let layout = base.layout.adding(lowRank)
        var values = base.vector.extended(to: layout).values
        for index in base.layout.count..<layout.count { values[index] = Float(index % 17) / 16 }
        let manifest = AdapterManifest(
            name: "x", baseDigest: base.digest, layoutDigest: layout.digest, trainableSet: TrainableSet(.lora, base.configuration),
            classes: base.classes.names, prediction: "epsilon", path: "linear-vp", lowRank: lowRank)
        return Adapter(manifest: manifest, vector: TunableVector(values, layout: layout), classes: base.classes)
    }

    @Test func aFileComesBackEqualUnderPublicNames() throws {
        let lowRank = LowRank(ranks: ["blocks.0.attn.qkv": 4, "blocks.3.mlp.fc2": 2], scale: 2)
        let adapter = adapter(lowRank)
        try AdapterFile.write(adapter, layout: base.layout, to: folder + "/a")
        let file = try TensorFile(path: folder + "/a")
        #expect(
            Set(file.entries.map(\.name)) == [
                "blocks.0.attn.qkv.lora_A.weight", "blocks.0.attn.qkv.lora_B.weight", "blocks.3.mlp.fc2.lora_A.weight",
                "blocks.3.mlp.fc2.lora_B.weight", "y_embedder.embedding_table.weight",
            ])
        #expect(file["blocks.0.attn.qkv.lora_A.weight"]?.shape == [4, 64])
        #expect(file["blocks.0.attn.qkv.lora_B.weight"]?.shape == [192, 4])
        #expect(file["blocks.3.mlp.fc2.lora_A.weight"]?.shape == [2, 256])
        #expect(file["blocks.3.mlp.fc2.lora_B.weight"]?.shape == [64, 2])
        let read = try AdapterFile.read(path: folder + "/a", base: base)
        #expect(read == adapter)
        #expect(read.digest == adapter.digest)
        #expect(read.manifest.kind == "lora")
    }

    @Test func scaleAndRanksArePartOfTheIdentity() {
        let ranks = ["blocks.0.attn.qkv": 4]
        let one = adapter(LowRank(ranks: ranks, scale: 1))
        #expect(one.digest != adapter(LowRank(ranks: ranks, scale: 2)).digest)
        #expect(one.manifest.layoutDigest != adapter(LowRank(ranks: ["blocks.1.attn.qkv": 4], scale: 1)).manifest.layoutDigest)
        var moved = one
        moved.manifest.resolution = 16
        #expect(moved.digest != one.digest)
    }

    @Test func aForeignFileIsToldByItsPairs() throws {
        let adapter = adapter(LowRank(ranks: ["blocks.0.attn.qkv": 4, "blocks.1.attn.proj": 3], scale: 1))
        let layout = adapter.manifest.layout(over: base.layout)
        var tensors = adapter.manifest.trainableSet.tensors(of: layout).map { OutgoingTensor($0.name, shape: $0.shape, Array(adapter.vector.values[$0.range])) }
        tensors.append(OutgoingTensor(TunableLayout.classTableName, shape: [11, 64], adapter.classes.values))
        try SafetensorsWriter.write(tensors, to: folder + "/foreign")
        // The names and shapes do not say how the pairs are scaled.
        #expect(throws: AdapterFormatError.noScale(file: folder + "/foreign")) { try AdapterFile.read(path: folder + "/foreign", base: base) }
        let read = try AdapterFile.read(path: folder + "/foreign", base: base, as: AdapterReading(loraScale: 1))
        #expect(read.manifest.lowRank == adapter.manifest.lowRank)
        #expect(read.vector == adapter.vector)
        try SafetensorsWriter.write(Array(tensors.dropFirst()), to: folder + "/half")
        #expect(throws: AdapterFormatError.self) { try AdapterFile.read(path: folder + "/half", base: base) }
    }

    /// A shape of no values can say any rank.
    @Test func aForeignRankIsNoLargerThanItsLayer() throws {
        let names = LowRank.names(of: "blocks.0.attn.qkv")
        try SafetensorsWriter.write(
            [
                OutgoingTensor(names.a, shape: [1 << 60, 0], []), OutgoingTensor(names.b, shape: [192, 1], [Float](repeating: 0, count: 192)),
                OutgoingTensor(TunableLayout.classTableName, shape: [11, 64], base.classes.values),
            ], to: folder + "/huge")
        let thrown = #expect(throws: AdapterFormatError.self) { try AdapterFile.read(path: folder + "/huge", base: base) }
        #expect(thrown.map { "\($0)".contains("does not fit the base") } == true)
    }

    @Test(arguments: [("blocks.9.attn.qkv", 4), ("blocks.0.attn.qkv", 193), ("final_layer.linear", 2)])
    func ranksThatDoNotFitAreRefused(name: String, rank: Int) throws {
        let adapter = adapter(LowRank(ranks: ["blocks.0.attn.qkv": 4], scale: 1))
        try AdapterFile.write(adapter, layout: base.layout, to: folder + "/a")
        let file = try TensorFile(path: folder + "/a")
        let metadata = file.metadata.mapValues { $0.replacing("\"blocks.0.attn.qkv\":4", with: "\"\(name)\":\(rank)") }
        let tensors = try file.entries.map { OutgoingTensor($0.name, shape: $0.shape, try file.floats($0.name)) }
        try SafetensorsWriter.write(tensors, metadata: metadata, to: folder + "/b")
        let fault = #expect(throws: AdapterFormatError.self) { try AdapterFile.read(path: folder + "/b", base: base) }
        #expect("\(try #require(fault))".contains("rank \(rank) of '\(name)'"))
    }
}
