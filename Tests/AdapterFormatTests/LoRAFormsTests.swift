import AdapterFormat
import Foundation
import TensorFiles
import Testing

/// LoRA adapters as PEFT, diffusers and kohya's scripts save them (tools/goldens/lora.py), read, refused and written again.
@Suite final class LoRAFormsTests {
    private static let goldens = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens").path
    private let base: BaseFile
    private let folder = NSTemporaryDirectory() + "lora-forms-\(UUID().uuidString)"

    init() throws {
        base = try BaseFile(path: Self.goldens + "/containers/dit.safetensors")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: URL(filePath: folder)) }

    private func read(_ name: String, as reading: AdapterReading = AdapterReading()) throws -> Adapter {
        try AdapterFile.read(path: "\(Self.goldens)/lora/\(name)", base: base, as: reading)
    }

    private func refusal(_ path: String, as reading: AdapterReading = AdapterReading()) -> String {
        do {
            _ = try AdapterFile.read(path: path, base: base, as: reading)
            return "nothing was refused"
        } catch { return "\(error)" }
    }

    /// A file of pairs for block 0's qkv, with other tensors and metadata beside.
    private func file(
        _ name: String = "adapter_model.safetensors", layer: String = "base_model.model.blocks.0.attn.qkv", rank: Int = 2, inputs: Int = 16, outputs: Int = 48,
        also: [OutgoingTensor] = [], metadata: [String: String] = [:]
    ) throws -> String {
        let names = LowRank.names(of: layer)
        let pair = [
            OutgoingTensor(names.a, shape: [rank, inputs], (0..<(rank * inputs)).map { Float($0) }),
            OutgoingTensor(names.b, shape: [outputs, rank], (0..<(outputs * rank)).map { Float($0 % 7) }),
        ]
        let path = "\(folder)/\(name)"
        try SafetensorsWriter.write(pair + also, metadata: metadata, to: path)
        return path
    }

    private func config(_ fields: [String: Any]) throws {
        let data = try JSONSerialization.data(withJSONObject: ["peft_type": "LORA", "r": 2, "lora_alpha": 6].merging(fields) { $1 })
        try data.write(to: URL(filePath: folder + "/adapter_config.json"))
    }

    @Test func everyLayerHasItsRankAndScale() throws {
        let peft = try #require(try read("peft").manifest.lowRank)
        #expect(peft.ranks["blocks.0.mlp.fc1"] == 3)
        #expect(peft.ranks["blocks.1.attn.qkv"] == 2)
        #expect(peft.ranks.count == 8)
        #expect(peft.scale(of: "blocks.0.attn.qkv") == 2.5)
        #expect(peft.scale(of: "blocks.1.attn.qkv") == 3.5)
        #expect(peft.scale(of: "blocks.0.mlp.fc1") == Float(5.0 / 3))
        // The folder, its file and kohya's names for the same are one adapter.
        #expect(try read("peft/adapter_model.safetensors").digest == read("peft").digest)
        #expect(try read("kohya.safetensors").digest == read("peft").digest)
        let stable = try read("peft-rslora")
        #expect(stable.manifest.lowRank?.scale == 3)
        #expect(stable.classes.values != base.classes.values)
        #expect(stable.classes.names.count == 3)
        let biased = try read("peft-bias")
        #expect(biased.manifest.trainableSet.method == .loraBias)
        #expect(biased.manifest.kind == "lora")
        let moved = try #require(base.layout["x_embedder.proj.bias"])
        #expect(Array(biased.vector.values[moved.range]) != Array(base.vector.values[moved.range]))
        // Queries and keys of ranks 2 and 3 stand side by side, each in its third.
        let apart = try read("diffusers"), layout = apart.manifest.layout(over: base.layout)
        #expect(apart.manifest.lowRank?.ranks["blocks.0.attn.qkv"] == 5)
        #expect(apart.manifest.lowRank?.scale(of: "blocks.0.attn.proj") == 4)
        let b = try #require(layout["blocks.0.attn.qkv.lora_B.weight"])
        let values = Array(apart.vector.values[b.range])
        #expect((0..<16).allSatisfy { row in (2..<5).allSatisfy { values[row * 5 + $0] == 0 } })
        #expect((16..<32).allSatisfy { row in (0..<2).allSatisfy { values[row * 5 + $0] == 0 } })
        #expect(values[(32 * 5)...].allSatisfy { $0 == 0 })
    }

    /// A class table changes by the product of its pair.
    @Test func aPairOfTheClassTableIsAdded() throws {
        let adapter = try read("peft-embedding"), file = try TensorFile(path: Self.goldens + "/lora/peft-embedding/adapter_model.safetensors")
        let name = "y_embedder.embedding_table.lora_embedding_"
        let a = try file.floats(name + "A"), b = try file.floats(name + "B")
        for (row, column) in [(0, 0), (2, 7), (3, 15)] {
            let expected = base.classes.values[row * 16 + column] + 1.5 * (b[column * 2] * a[row] + b[column * 2 + 1] * a[4 + row])
            #expect(abs(adapter.classes.values[row * 16 + column] - expected) < 1e-5)
        }
    }

    @Test func whatSaysNoScaleIsAskedFor() throws {
        let path = Self.goldens + "/lora/processor.safetensors"
        #expect(refusal(path).contains("--lora-alpha"))
        #expect(try read("processor.safetensors", as: AdapterReading(loraAlpha: 5)).manifest.lowRank?.scale == 2.5)
        let bare = try file("bare.safetensors")
        #expect(refusal(bare).contains("does not say how its pairs are scaled"))
        #expect(try AdapterFile.read(path: bare, base: base, as: AdapterReading(loraScale: 0.25)).manifest.lowRank?.scale == 0.25)
        // What is said may not be contradicted.
        #expect(
            refusal(Self.goldens + "/lora/kohya.safetensors", as: AdapterReading(loraAlpha: 4)).contains(
                "scales 'lora_unet_blocks_0_attn_proj' by 2.5, not by 2.0"))
        #expect(try AdapterFile.read(path: file("kohya", metadata: ["ss_network_alpha": "8"]), base: base).manifest.lowRank?.scale == 4)
        let unsaid = try read("kohya.safetensors")
        let resized = try TensorFile(path: Self.goldens + "/lora/kohya.safetensors"), dynamic = folder + "/dynamic.safetensors"
        try SafetensorsWriter.write(
            resized.entries.map { OutgoingTensor($0, as: $0.dtype) }, metadata: ["ss_network_alpha": "Dynamic", "ss_network_dim": "Dynamic"], to: dynamic)
        #expect(try AdapterFile.read(path: dynamic, base: base).manifest.lowRank == unsaid.manifest.lowRank)
        #expect(try AdapterFile.read(path: file("own", metadata: ["lora_config": #"{"r": 2, "lora_alpha": 1}"#]), base: base).manifest.lowRank?.scale == 0.5)
    }

    /// Each layer's own tensor counts, as in kohya's loader, and a note that says otherwise is told.
    @Test func kohyasTensorsCountAndItsNotesAreTold() throws {
        let layer = "lora_unet_blocks_0_attn_qkv"
        func read(_ metadata: [String: String]) throws -> (scale: Float?, said: [String]) {
            let path = folder + "/kohya.safetensors", said = Said()
            try SafetensorsWriter.write(
                [
                    OutgoingTensor(layer + ".lora_down.weight", shape: [2, 16], [Float](repeating: 1, count: 32)),
                    OutgoingTensor(layer + ".lora_up.weight", shape: [48, 2], [Float](repeating: 1, count: 96)),
                    OutgoingTensor(layer + ".alpha", shape: [], [4]),
                ], metadata: metadata, to: path)
            var reading = AdapterReading()
            reading.onRemark = { said.add($0) }
            return (try AdapterFile.read(path: path, base: base, as: reading).manifest.lowRank?.scale, said.texts)
        }
        #expect(try read(["ss_network_alpha": "4.0", "ss_network_dim": "2"]) == (2, []))
        let other = try read(["ss_network_alpha": "1", "ss_network_dim": "8"])
        #expect(other.scale == 2)
        #expect(other.said.count == 1)
        #expect(
            other.said.first?.contains(
                "says ss_network_alpha 1, the tensor of '\(layer)' 4; and ss_network_dim 8, the pair of '\(layer)' has rank 2: the tensors count") == true,
            "\(other.said)")
        // Without tensors that say it, a rank that is not the pairs' makes the alpha another's.
        #expect(refusal(try file("noted", metadata: ["ss_network_alpha": "8", "ss_network_dim": "4"])).contains("should have rank 4, and its pair has 2"))
    }

    /// diffusers puts a component's name before each setting, others an adapter's name before all.
    @Test(arguments: [
        (["lora_adapter_metadata": #"{"unet.r": 2, "unet.lora_alpha": 8}"#], "4.0"),
        (["lora_adapter_metadata": #"{"transformer.r": 2, "transformer.lora_alpha": 8}"#], "4.0"),
        (["lora_adapter_metadata": #"{"default": {"r": 2, "lora_alpha": 3}}"#], "1.5"),
        (["lora_adapter_metadata": #"{"unet.r": 2, "unet.lora_alpha": 8, "text_encoder.lora_alpha": 1}"#], "4.0"),
        (["lora_adapter_metadata": #"{"a": {"r": 2, "lora_alpha": 3}, "b": {"r": 2, "lora_alpha": 3}}"#], "1.5"),
        (["unet.lora_alpha": "5", "unet.r": "2"], "2.5"),
        (["lora_adapter_metadata": #"{"a": {"r": 2, "lora_alpha": 3}, "b": {"r": 2, "lora_alpha": 4}}"#], "'a.lora_alpha' and 'b.lora_alpha' differ"),
        (["lora_adapter_metadata": #"{"unet.r": 4, "unet.lora_alpha": 8}"#], "should have rank 4, and its pair has 2"),
        (["lora_adapter_metadata": #"{"unet.use_dora": true, "unet.lora_alpha": 8}"#], "is a DoRA adapter"),
        (["unet.lora_alpha": "5", "dit.lora_alpha": "6"], "'dit.lora_alpha' is 6.0"),
        (["lora_alpha": "5", "r": "4"], "should have rank 4"),
    ])
    func settingsUnderAnyNameAreRead(metadata: [String: String], wanted: String) throws {
        let path = try file("keyed", metadata: metadata)
        if let scale = Float(wanted) {
            #expect(try AdapterFile.read(path: path, base: base).manifest.lowRank?.scale == scale)
        } else {
            #expect(refusal(path).contains(wanted), "\(refusal(path))")
        }
    }

    @Test func adaptersInSubFoldersAreNamed() throws {
        for name in ["checkpoint-5", "checkpoint-10", "logs"] {
            try FileManager.default.createDirectory(atPath: "\(folder)/run/\(name)", withIntermediateDirectories: true)
        }
        for name in ["checkpoint-5", "checkpoint-10"] { try Data("{}".utf8).write(to: URL(filePath: "\(folder)/run/\(name)/adapter_config.json")) }
        #expect(
            refusal(folder + "/run/").contains("did you mean '\(folder)/run/checkpoint-10' or '\(folder)/run/checkpoint-5'?"), "\(refusal(folder + "/run/"))")
    }

    /// The first pattern that fits a layer's name to its end counts, as in PEFT.
    @Test(arguments: [
        (#"{"qkv": 8, "blocks.0.attn.qkv": 2}"#, 4), (#"{"blocks.0.attn.qkv": 2, "qkv": 8}"#, 1), (#"{"^blocks.0.*qkv": 10}"#, 5),
        (#"{"kv": 10, "proj": 2}"#, 3),
        (#"{"blocks\\.[0-3]\\.attn\\.qkv": 10}"#, 5),
    ])
    func patternsOfAlphas(pattern: String, scale: Float) throws {
        let path = try file()
        try Data(#"{"peft_type":"LORA","r":2,"lora_alpha":6,"alpha_pattern":\#(pattern)}"#.utf8).write(to: URL(filePath: folder + "/adapter_config.json"))
        #expect(try AdapterFile.read(path: path, base: base).manifest.lowRank?.scale == scale)
    }

    @Test func whatChangesTheNumbersIsRefusedByName() throws {
        let path = try file()
        let faults: [([String: Any], String)] = [
            (["use_dora": true], "is a DoRA adapter"), (["peft_type": "LOHA"], "is a LOHA adapter"), (["peft_type": "ADALORA"], "is an ADALORA adapter"),
            (["init_lora_weights": "pissa_niter_4"], "begins from 'pissa_niter_4'"),
            (["use_qalora": true], "trained with 'use_qalora'"), (["use_later_thing": true], "'use_later_thing'"),
            (["layer_replication": [[0, 1]]], "'layer_replication'"),
            (["r": 4], "should have rank 4, and its pair has 2"), (["lora_alpha": "high"], "'high' is not of the kind"),
            (["alpha_pattern": ["(a+)+(b*)*": 3]], "no pattern of names"),
            (["alpha_pattern": ["[": 3]], "no pattern of names"), (["rank_pattern": ["qkv": 3]], "should have rank 3"),
        ]
        for (fields, wanted) in faults {
            try config(fields)
            #expect(refusal(path).contains(wanted), "\(refusal(path))")
        }
        try config([
            "use_rslora": true, "bias": "none", "megatron_core": "megatron.core", "loftq_config": [:], "init_lora_weights": true, "fan_in_fan_out": true,
        ])
        #expect(try AdapterFile.read(path: path, base: base).manifest.lowRank?.scale == Float(6 / 2.0.squareRoot()))
        try Data("{".utf8).write(to: URL(filePath: folder + "/adapter_config.json"))
        #expect(refusal(path).contains("it is no JSON object"))
    }

    @Test(arguments: [
        ("blocks.0.attn.qkv.lora_magnitude_vector", "DoRA"), ("lora_unet_x.dora_scale", "DoRA"), ("lora_unet_x.hada_w1_a", "LoHa"),
        ("lora_unet_x.lokr_w1", "LoKr"),
        ("blocks.0.attn.qkv.oft_blocks", "OFT"), ("blocks.0.attn.qkv.ia3_l", "IA3"), ("blocks.0.attn.qkv.vera_lambda_b", "VeRA"),
        ("lora_unet_x.lora_mid.weight", "core tensor"),
        ("lora_te_text_model.lora_down.weight", "text encoder"), ("blocks.0.attn.qkv.lora_E", "AdaLoRA"), ("blocks.0.attn.qkv.diff", "full differences"),
    ])
    func otherMethodsAreNamed(name: String, method: String) throws {
        let path = try file(also: [OutgoingTensor(name, shape: [1], [1])])
        try config([:])
        let said = refusal(path)
        #expect(said.contains("'\(name)'"), "\(said)")
        #expect(said.contains(method), "\(said)")
    }

    @Test func layersAndShapesThatDoNotFitAreNamed() throws {
        try config([:])
        #expect(refusal(try file(layer: "base_model.model.blocks.0.adaLN_modulation.1", outputs: 96)).contains("a pair for 'blocks.0.adaLN_modulation.1'"))
        #expect(refusal(try file(layer: "base_model.model.blocks.7.attn.qkv")).contains("a pair for 'blocks.7.attn.qkv'"))
        #expect(refusal(try file(inputs: 15)).contains("has shape [2, 15]; the base wants [2, 16]"))
        #expect(refusal(try file(outputs: 16)).contains("the base wants [48, 2]"))
        let half = OutgoingTensor("base_model.model.blocks.1.attn.qkv.lora_A.weight", shape: [2, 16], [Float](repeating: 1, count: 32))
        let missing = refusal(try file(also: [half]))
        #expect(missing.contains("the pair of 'blocks.1.attn.qkv'"))
        #expect(missing.contains("has no lora_B"))
        #expect(
            refusal(try file(also: [OutgoingTensor("base_model.model.blocks.0.norm1.weight", shape: [16], [Float](repeating: 1, count: 16))])).contains(
                "nothing is skipped silently"))
        // modules_to_save may bring a matrix, which must be the base's own.
        let name = "final_layer.linear.weight"
        let own = try base.file.floats(name)
        #expect(refusal(try file(also: [OutgoingTensor("base_model.model." + name, shape: [32, 16], own)])) == "nothing was refused")
        #expect(
            refusal(try file(also: [OutgoingTensor("base_model.model." + name, shape: [32, 16], own.map { $0 + 1 })])).contains(
                "moves the matrix 'final_layer.linear.weight' itself"))
        try FileManager.default.removeItem(atPath: folder + "/adapter_model.safetensors")
        #expect(refusal(folder).contains("a folder without adapter_model.safetensors"))
    }

    /// The state of a model in use has the adapter's name in it, and untrained originals beside what is trained.
    @Test func namesOfAModelInUseAreTaken() throws {
        try config([:])
        let table = base.classes.values
        let path = try file(
            layer: "base_model.model.blocks.1.attn.proj", outputs: 16,
            also: [
                OutgoingTensor("base_model.model.blocks.0.attn.qkv.lora_A.default.weight", shape: [2, 16], [Float](repeating: 1, count: 32)),
                OutgoingTensor("base_model.model.blocks.0.attn.qkv.lora_B.default.weight", shape: [48, 2], [Float](repeating: 1, count: 96)),
                OutgoingTensor("base_model.model.blocks.0.attn.qkv.base_layer.weight", shape: [48, 16], try base.file.floats("blocks.0.attn.qkv.weight")),
                OutgoingTensor("base_model.model.y_embedder.embedding_table.original_module.weight", shape: [4, 16], table),
                OutgoingTensor("base_model.model.y_embedder.embedding_table.modules_to_save.default.weight", shape: [4, 16], table.map { $0 + 1 }),
            ])
        let adapter = try AdapterFile.read(path: path, base: base)
        #expect(adapter.manifest.lowRank?.ranks == ["blocks.0.attn.qkv": 2, "blocks.1.attn.proj": 2])
        #expect(adapter.classes.values == table.map { $0 + 1 })
    }

    /// What a half-precision file has only rounded is the base's still.
    @Test func roundedCopiesOfTheBaseMoveNothing() throws {
        try config([:])
        let bias = try #require(base.layout["x_embedder.proj.bias"])
        let path = try file(also: [
            OutgoingTensor("base_model.model.x_embedder.proj.bias", shape: [16], Array(base.vector.values[bias.range]), as: .bf16),
            OutgoingTensor("base_model.model.y_embedder.embedding_table.weight", shape: [4, 16], base.classes.values, as: .f16),
            OutgoingTensor("base_model.model.blocks.1.mlp.fc1.weight", shape: [64, 16], try base.file.floats("blocks.1.mlp.fc1.weight"), as: .bf16),
        ])
        let adapter = try AdapterFile.read(path: path, base: base)
        #expect(adapter.manifest.trainableSet.method == .lora)
        #expect(adapter.classes == base.classes)
    }

    /// PEFT's `lora_bias`: what stands beside B is a part of the layer's bias.
    @Test func biasesBesidePairsAreFolded() throws {
        try config(["lora_bias": true])
        let path = try file(also: [OutgoingTensor("base_model.model.blocks.0.attn.qkv.lora_B.bias", shape: [48], [Float](repeating: 2, count: 48))])
        let adapter = try AdapterFile.read(path: path, base: base), bias = try #require(base.layout["blocks.0.attn.qkv.bias"])
        #expect(bias.range.allSatisfy { abs(adapter.vector.values[$0] - base.vector.values[$0] - 6) < 1e-5 })
        #expect(adapter.manifest.trainableSet.method == .loraBias)
    }

    /// Read again, an export is the same adapter to the last bit.
    @Test(arguments: ["peft", "peft-rslora", "peft-bias", "peft-embedding", "diffusers"])
    func exportsAreTheSameAdapter(name: String) throws {
        let adapter = try read(name), peft = folder + "/peft", diffusers = folder + "/diffusers"
        try LowRankFolder.writePEFT(adapter, base: base, to: peft)
        #expect(try AdapterFile.read(path: peft, base: base).digest == adapter.digest)
        let config = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: peft + "/adapter_config.json"))) as? [String: Any])
        #expect(config["peft_type"] as? String == "LORA")
        #expect(config["bias"] as? String == (name == "peft-bias" ? "all" : "none"))
        if name.hasPrefix("peft"), name != "peft-embedding" {
            // The names are those that PEFT itself wrote.
            let names = { (folder: String) in try Set(TensorFile(path: folder + "/adapter_model.safetensors").entries.map(\.name)) }
            #expect(try names(peft) == names("\(Self.goldens)/lora/\(name)"))
        }
        #expect(throws: TensorFileError.self) { try LowRankFolder.writePEFT(adapter, base: base, to: peft) }
        guard ["peft", "diffusers"].contains(name) else {
            #expect(throws: AdapterFormatError.self) { try LowRankFolder.writeDiffusers(adapter, base: base, to: diffusers) }
            return
        }
        try LowRankFolder.writeDiffusers(adapter, base: base, to: diffusers)
        #expect(try AdapterFile.read(path: diffusers, base: base).digest == adapter.digest)
    }

    @Test func onlyPairsHaveAFormElsewhere() throws {
        let port = try AdapterFile.read(path: Self.goldens + "/containers/port.pt", base: base)
        let thrown = #expect(throws: AdapterFormatError.self) { try LowRankFolder.writePEFT(port, base: base, to: folder + "/x") }
        #expect(thrown.map { "\($0)".contains("only low-rank pairs have a place there") } == true)
        #expect(!FileManager.default.fileExists(atPath: folder + "/x"))
    }

    /// Fields that a later version may mean otherwise are no defaults.
    @Test func manifestsOfLaterVersionsAreRefused() throws {
        let path = folder + "/own.safetensors"
        try AdapterFile.write(read("peft"), layout: base.layout, to: path)
        let own = try TensorFile(path: path)
        #expect(try AdapterFile.read(path: path, base: base).digest == read("peft").digest)
        let tensors = try own.entries.map { OutgoingTensor($0.name, shape: $0.shape, try own.floats($0.name)) }
        for (old, new, wanted) in [
            (#""schema_version":1"#, #""schema_version":3"#, "schema 3"), (#""kind":"lora""#, #""kind":"steps""#, "its kind 'steps'"),
            (#""method":"lora""#, #""method":"later""#, "not known here"),
        ] {
            try SafetensorsWriter.write(tensors, metadata: own.metadata.mapValues { $0.replacing(old, with: new) }, to: path)
            #expect(refusal(path).contains(wanted), "\(refusal(path))")
            #expect(!refusal(path).contains("DecodingError"), "\(refusal(path))")
        }
    }
}
