import AdapterFormat
import Foundation
import TensorFiles
import Testing

private func golden(_ name: String) -> String {
    URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/\(name).safetensors").path
}

private func temporary(_ name: String = "file") -> String { NSTemporaryDirectory() + "adapterformat-\(UUID().uuidString)-\(name)" }

/// All tensors of a file as outgoing ones, for rewriting it with a change.
private func tensors(of path: String) throws -> [OutgoingTensor] {
    let file = try TensorFile(path: path)
    return try file.entries.map { OutgoingTensor($0.name, shape: $0.shape, try file.floats($0.name)) }
}

@Suite struct BaseFileTests {
    @Test func theRecordedModelsAreReadWithTheirShapes() throws {
        let tiny = try BaseFile(path: golden("dit-tiny"))
        #expect(
            tiny.configuration
                == DiTConfiguration(
                    inputSize: 8, patchSize: 2, inChannels: 4, hiddenSize: 64, depth: 4, numHeads: 4, numClasses: 10, learnSigma: true))
        #expect(tiny.classes.rows == 11)
        let pixel = try BaseFile(path: golden("dit-pixel"))
        #expect(!pixel.configuration.learnSigma)
        #expect(pixel.configuration.numHeads == 3)
        #expect(pixel.digest != tiny.digest)
        let layout = tiny.layout
        #expect(layout.tensors.filter { $0.kind == .gamma }.allSatisfy { tiny.vector.values[$0.range].allSatisfy { $0 == 1 } })
    }

    @Test func aFileWithoutAHeadCountAsksForOne() throws {
        let path = temporary()
        defer { try? FileManager.default.removeItem(atPath: path) }
        try SafetensorsWriter.write(try tensors(of: golden("dit-tiny")), to: path)
        #expect(throws: AdapterFormatError.noHeadCount(file: path, width: 64)) { try BaseFile(path: path) }
        #expect(throws: AdapterFormatError.headsDoNotDivide(heads: 5, width: 64)) { try BaseFile(path: path, heads: 5) }
        #expect(try BaseFile(path: path, heads: 4).configuration.inputSize == 8)
    }

    /// Shapes of which no network could be made.
    @Test func hostileShapesAreRefused() throws {
        let path = temporary()
        defer { try? FileManager.default.removeItem(atPath: path) }
        func reason(_ tensors: [(String, [Int])]) throws -> String {
            try SafetensorsWriter.write(tensors.map { OutgoingTensor($0, shape: $1, [Float](repeating: 0, count: $1.reduce(1, *))) }, to: path)
            return (#expect(throws: AdapterFormatError.self) { try BaseFile(path: path, heads: 1) }).map { "\($0)" } ?? ""
        }
        func ends(_ width: Int) -> [(String, [Int])] {
            [("x_embedder.proj.weight", [width, 4, 2, 2]), (TunableLayout.classTableName, [11, width]), ("final_layer.linear.weight", [16, width])]
        }
        #expect(try reason(ends(6) + [("blocks.0.x", [1])]).contains("width 6 is no multiple of 4"))
        #expect(try reason(ends(8) + [("blocks.-5.x", [1])]).contains("no blocks 0, 1, 2"))
    }

    @Test func missingExtraAndWrongTensorsAreNamed() throws {
        let path = temporary()
        defer { try? FileManager.default.removeItem(atPath: path) }
        let sound = try tensors(of: golden("dit-tiny"))
        try SafetensorsWriter.write(sound.filter { $0.name != "blocks.2.mlp.fc1.weight" }, to: path)
        #expect(throws: AdapterFormatError.missingTensor(file: path, name: "blocks.2.mlp.fc1.weight", shape: [256, 64])) { try BaseFile(path: path, heads: 4) }
        try SafetensorsWriter.write(sound + [OutgoingTensor("stray", shape: [1], [0])], to: path)
        #expect(throws: AdapterFormatError.unknownTensor(file: path, name: "stray")) { try BaseFile(path: path, heads: 4) }
        let name = "blocks.1.attn.qkv.bias"
        try SafetensorsWriter.write(sound.filter { $0.name != name } + [OutgoingTensor(name, shape: [3], [1, 2, 3])], to: path)
        #expect(throws: AdapterFormatError.wrongShape(file: path, name: name, shape: [3], expected: [192])) { try BaseFile(path: path, heads: 4) }
        try SafetensorsWriter.write(sound.filter { $0.name != name } + [OutgoingTensor(name, shape: [192], [Float](repeating: .nan, count: 192))], to: path)
        #expect(throws: AdapterFormatError.notFinite(file: path, name: name)) { try BaseFile(path: path, heads: 4) }
    }
}

@Suite struct AdapterFileTests {
    private let base: BaseFile
    init() throws { base = try BaseFile(path: golden("dit-tiny")) }

    @Test func thePublicAdapterBindsWholly() throws {
        let adapter = try AdapterFile.read(path: golden("difffit-tiny-adapter"), base: base)
        #expect(adapter.manifest.trainableSet == TrainableSet(.difffit, gammaDepth: 2))
        #expect(adapter.classes.rows == 11)
        let file = try TensorFile(path: golden("difffit-tiny-adapter"))
        var bound = 0
        for tensor in base.layout.tensors where file[tensor.name] != nil {
            let stored = try file.floats(tensor.name)
            #expect(Array(adapter.vector.values[tensor.range]) == stored)
            bound += 1
        }
        #expect(bound + 1 == file.entries.count)
        let untouched = try #require(base.layout["blocks.3.gamma1"])
        #expect(adapter.vector.values[untouched.range].allSatisfy { $0 == 1 })
    }

    /// Law 2.
    @Test func anAdapterThatDoesNotBindWhollyIsRefusedByName() throws {
        let path = temporary()
        defer { try? FileManager.default.removeItem(atPath: path) }
        let sound = try tensors(of: golden("difffit-tiny-adapter"))
        try SafetensorsWriter.write(sound.filter { $0.name != "blocks.1.norm2.bias" }, to: path)
        #expect(
            throws: AdapterFormatError.noTrainableSet(
                file: path, missing: "blocks.1.norm2.bias", beginnings: ["blocks", "final_layer", "t_embedder", "x_embedder", "y_embedder"])
        ) { try AdapterFile.read(path: path, base: base) }
        try SafetensorsWriter.write(sound + [OutgoingTensor("blocks.9.gamma1", shape: [64], [Float](repeating: 1, count: 64))], to: path)
        #expect(throws: AdapterFormatError.unknownTensor(file: path, name: "blocks.9.gamma1")) { try AdapterFile.read(path: path, base: base) }
        try SafetensorsWriter.write(sound.filter { $0.name != "t_embedder.mlp.0.bias" } + [OutgoingTensor("t_embedder.mlp.0.bias", shape: [1], [0])], to: path)
        #expect(throws: AdapterFormatError.wrongShape(file: path, name: "t_embedder.mlp.0.bias", shape: [1], expected: [64])) {
            try AdapterFile.read(path: path, base: base)
        }
    }

    @Test func itsOwnFileReadsBackToTheSameDigest() throws {
        let path = temporary()
        defer { try? FileManager.default.removeItem(atPath: path) }
        var adapter = try AdapterFile.read(path: golden("difffit-tiny-adapter"), base: base)
        adapter.manifest.name = "first"
        try AdapterFile.write(adapter, layout: base.layout, to: path)
        let again = try AdapterFile.read(path: path, base: base)
        #expect(again == adapter)
        #expect(again.digest == adapter.digest)
        // bf16 halves the file and is its own content.
        try AdapterFile.write(adapter.roundedToBFloat16(base.layout), layout: base.layout, to: path, as: .bf16)
        let rounded = try AdapterFile.read(path: path, base: base)
        #expect(rounded.digest == adapter.roundedToBFloat16(base.layout).digest)
        #expect(rounded.digest != adapter.digest)
        #expect(zip(rounded.vector.values, adapter.vector.values).allSatisfy { $0 == BFloat16.rounded($1) || $0 == $1 })
    }

    /// Law 4.
    @Test func identityIsTheContentAndNothingElse() throws {
        let adapter = try AdapterFile.read(path: golden("difffit-tiny-adapter"), base: base)
        var renamed = adapter
        renamed.manifest.name = "other"
        renamed.manifest.created = "2026-01-01T00:00:00Z"
        #expect(renamed.digest == adapter.digest)
        var values = adapter.vector.values
        values[17] = values[17].nextUp
        #expect(Adapter(manifest: adapter.manifest, vector: TunableVector(values, layout: base.layout), classes: adapter.classes).digest != adapter.digest)
        let names = adapter.classes.names.dropLast() + ["other"]
        let classes = ClassTable(names: Array(names), values: adapter.classes.values)
        #expect(Adapter(manifest: adapter.manifest, vector: adapter.vector, classes: classes).digest != adapter.digest)
    }

    @Test func anAdapterOfAnotherBaseIsRefused() throws {
        let path = temporary()
        defer { try? FileManager.default.removeItem(atPath: path) }
        var adapter = try AdapterFile.read(path: golden("difffit-tiny-adapter"), base: base)
        adapter.manifest.baseDigest = base.layout.digest
        try AdapterFile.write(adapter, layout: base.layout, to: path)
        #expect(throws: AdapterFormatError.otherBase(file: path, base: base.layout.digest.short, expected: base.digest.short)) {
            try AdapterFile.read(path: path, base: base)
        }
    }
}

@Suite struct AdapterNameTests {
    @Test(arguments: ["a", "flowers", "0", "a.b-c_d", String(repeating: "x", count: 64)])
    func goodNames(name: String) throws { #expect(try AdapterName(name).description == name) }

    @Test(arguments: ["", "base", ".a", "-a", "A", "a/b", "../a", "ä", "a b", "a\u{0}", "a\n", String(repeating: "x", count: 65)])
    func badNames(name: String) { #expect(throws: AdapterFormatError.self) { try AdapterName(name) } }

    @Test func references() throws {
        #expect(try AdapterReference("flowers") == .name(AdapterName("flowers")))
        #expect(try AdapterReference("flowers@ABCD") == .pinned(AdapterName("flowers"), prefix: "abcd"))
        for bad in ["flowers@", "flowers@xyz1", "a@b@c", "@abcd", ""] { #expect(throws: AdapterFormatError.self) { try AdapterReference(bad) } }
    }

    @Test func theNearestNamesComeFirst() {
        #expect(nearestNames(to: "flowrs", among: ["cars", "flowers", "flower"]) == ["flowers", "flower"])
        #expect(nearestNames(to: "zzzz", among: ["cars"]).isEmpty)
    }
}
