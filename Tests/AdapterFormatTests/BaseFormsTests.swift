import AdapterFormat
import Foundation
import TensorFiles
import Testing

/// Bases and ports as people have them: what shapes do not say, class tables without a null row, half precision, and folders.
@Suite final class BaseFormsTests {
    private static let goldens = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens").path
    private let base: BaseFile
    private let folder = NSTemporaryDirectory() + "base-forms-\(UUID().uuidString)"

    init() throws {
        base = try BaseFile(path: Self.container("dit.safetensors"))
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: URL(filePath: folder)) }

    private static func container(_ name: String) -> String { "\(goldens)/containers/\(name)" }

    private func refusal(_ body: () throws -> Void) -> String {
        do { try body() } catch { return "\(error)" }
        return "nothing was refused"
    }

    /// The recorded tensors with changes, as a file.
    private func write(
        _ name: String = "base.safetensors", of source: String = "dit.safetensors", as type: DType = .f32, metadata: [String: String] = [:],
        _ change: (inout [String: (shape: [Int], values: [Float])]) -> Void = { _ in }
    ) throws -> String {
        let file = try TensorFile(path: Self.container(source))
        var tensors = Dictionary(uniqueKeysWithValues: try file.entries.map { ($0.name, (shape: $0.shape, values: try file.floats($0.name))) })
        change(&tensors)
        let path = "\(folder)/\(name)"
        try SafetensorsWriter.write(
            tensors.sorted { $0.key < $1.key }.map { OutgoingTensor($0.key, shape: $0.value.shape, $0.value.values, as: type) }, metadata: metadata, to: path)
        return path
    }

    @Test func aFileOfSomethingElseIsNamedByWhatItHolds() throws {
        let files: [([String], [String])] = [
            (["down_blocks.0.w", "up_blocks.0.w"], ["is a U-Net", "'down_blocks', 'up_blocks'"]),
            (["encoder.w", "decoder.w"], ["an autoencoder: give it with --vae"]),
            (["lin0.w", "lin1.w"], ["is no DiT", "its names begin with 'lin0', 'lin1'", "'x_embedder'"]),
            (["blocks.0.attn.qkv.lora_A.weight"], ["a low-rank adapter"]),
            (["blocks.0.attn.qkv.weight.absmax", "x_embedder.proj.weight"], ["is quantised (bitsandbytes"]), (["blocks.0.attn.qkv.qweight"], ["GPTQ or AWQ"]),
            (["blocks.0.attn.qkv.weight_scale"], ["eight-bit floats with scales"]),
        ]
        for (names, wanted) in files {
            let path = folder + "/other.safetensors"
            try SafetensorsWriter.write(names.map { OutgoingTensor($0, shape: [2], [0, 0]) }, to: path)
            let said = refusal { _ = try BaseFile(path: path) }
            #expect(wanted.allSatisfy(said.contains), "\(said)")
            #expect(!said.contains("[-1"), "\(said)")
        }
    }

    @Test func metadataOfAnotherKindIsNamed() throws {
        let path = try write(metadata: ["config": "[1]"])
        let sentence = refusal { _ = try BaseFile(path: path) }
        #expect(sentence.contains("the metadata 'config'"))
        #expect(sentence.contains("it is no JSON object"))
    }

    @Test func withoutPositionsTheInputSizeIsAskedFor() throws {
        let path = try write { $0["pos_embed"] = nil }
        #expect(refusal { _ = try BaseFile(path: path, heads: 2) }.contains("give --input-size, a multiple of its patch size 2"))
        #expect(try BaseFile(path: path, heads: 2, inputSize: 4).digest == base.digest)
        #expect(refusal { _ = try BaseFile(path: path, heads: 2, inputSize: 5) }.contains("not 5"))
        #expect(refusal { _ = try BaseFile(path: Self.container("dit.pt"), heads: 2, inputSize: 8) }.contains("not a square of 8 / 2 patches"))
    }

    /// Three classes of a network whose labels were never dropped are three classes, here and after the store.
    @Test func aTableWithoutANullRowIsAllClasses() throws {
        let path = try write {
            $0[TunableLayout.classTableName]?.shape = [3, 16]; $0[TunableLayout.classTableName]?.values.removeLast(16)
        }
        let assumed = try BaseFile(path: path, heads: 2)
        #expect(assumed.configuration.numClasses == 2)
        #expect(
            assumed.remarks == [
                "'\(path)' does not say how many classes its table of 3 rows has: taken as 2 classes and the null row; give --classes 3 if every row is a class"
            ])
        let whole = try BaseFile(path: path, heads: 2, classes: 3)
        #expect(whole.configuration.numClasses == 3)
        #expect(!whole.configuration.hasNullRow)
        #expect(!whole.classes.hasNullRow)
        #expect(whole.classes.names == ["0", "1", "2"])
        #expect(refusal { _ = try BaseFile(path: path, heads: 2, classes: 4) }.contains("has 3 rows; 4 classes have 4, or 5"))
        let stored = folder + "/stored.safetensors"
        try SafetensorsWriter.write(whole.encoding(), to: stored)
        let again = try BaseFile(path: stored)
        #expect(whole.remarks.isEmpty)
        #expect(again.remarks.isEmpty)
        #expect(again.digest == whole.digest)
        #expect(!again.classes.hasNullRow)
        #expect(again.classes == whole.classes)
        #expect(try TensorFile(path: stored).entry(TunableLayout.classTableName).shape == [3, 16])
        #expect(refusal { try DiffusersFolder.write(whole, to: folder + "/x") }.contains("no null row"))
        // One row is one class, not none.
        let single = try write { $0[TunableLayout.classTableName] = ([1, 16], Array($0[TunableLayout.classTableName]!.values.prefix(16))) }
        let unconditional = try BaseFile(path: single, heads: 2)
        #expect(unconditional.configuration.numClasses == 1)
        #expect(!unconditional.configuration.hasNullRow)
    }

    /// Latent diffusion's code keeps the average under names without dots: it is what is sampled from, whole or of what was trained alone.
    @Test func anAverageUnderFlatNamesIsTheBase() throws {
        for (model, autoencoder) in [("model.", false), ("model.diffusion_model.", true)] {
            func checkpoint(_ spoil: (inout [String: (shape: [Int], values: [Float])]) -> Void = { _ in }) throws -> BaseFile {
                try BaseFile(
                    path: write { tensors in
                        var all: [String: (shape: [Int], values: [Float])] = [:]
                        for (name, value) in tensors { all[model + name] = name == "pos_embed" ? value : (value.shape, value.values.map { $0 + 1 }) }
                        for (name, value) in tensors where name != "pos_embed" {
                            all["model_ema." + (model.dropFirst("model.".count) + name).replacing(".", with: "")] = value
                        }
                        all["model_ema.decay"] = ([], [0.999])
                        all["model_ema.num_updates"] = ([], [7])
                        if autoencoder { all["first_stage_model.encoder.w"] = ([1], [0]) }
                        spoil(&all)
                        tensors = all
                    }, heads: 2)
            }
            let found = try checkpoint()
            #expect(found.digest == base.digest, "\(found.file.section ?? "")")
            #expect(found.file.section?.hasPrefix("model_ema") == true, "\(found.file.section ?? "")")
            // An average of another model is none of this one, and the model itself is said to be taken.
            let other = try checkpoint { $0["model_ema.strange"] = ([2], [0, 0]) }
            #expect(other.digest != base.digest)
            #expect(other.file.section?.hasPrefix("model_ema") == false)
        }
    }

    @Test func anAdapterWithoutANullRowComesBack() throws {
        let path = try write("port.safetensors", of: "port.safetensors") {
            $0[TunableLayout.classTableName]?.shape = [3, 16]
            $0[TunableLayout.classTableName]?.values.removeLast(16)
        }
        let said = Said()
        var reading = AdapterReading()
        reading.onRemark = { said.add($0) }
        #expect(try AdapterFile.read(path: path, base: base, as: reading).classes.names.count == 2)
        try #require(said.texts.count == 1)
        #expect(said.texts[0].contains("taken as 2 classes and the null row"))
        let adapter = try AdapterFile.read(path: path, base: base, as: AdapterReading(classes: 3))
        #expect(adapter.classes.names.count == 3)
        #expect(!adapter.classes.hasNullRow)
        // Over a base whose labels were never dropped there is nothing to ask.
        let labelled = try write("labelled.safetensors") {
            $0[TunableLayout.classTableName]?.shape = [3, 16]
            $0[TunableLayout.classTableName]?.values.removeLast(16)
        }
        #expect(try AdapterFile.read(path: path, base: BaseFile(path: labelled, heads: 2, classes: 3)).classes == adapter.classes)
        let own = folder + "/own.safetensors"
        try AdapterFile.write(adapter, layout: base.layout, to: own)
        let again = try AdapterFile.read(path: own, base: base)
        #expect(again == adapter)
        #expect(again.digest == adapter.digest)
    }

    /// What a run's arguments say of the network; they are checked against its table.
    @Test func argumentsSayHeadsClassesAndObjective() throws {
        func base(_ arguments: [String: String], rows: Int) throws -> BaseFile {
            let path = try write(metadata: [:]) { tensors in
                let row = Array(tensors[TunableLayout.classTableName]!.values.prefix(16))
                tensors[TunableLayout.classTableName] = ([rows, 16], (0..<rows).flatMap { _ in row })
            }
            return try BaseFile(path: Self.checkpoint(of: path, arguments, in: folder), heads: 2)
        }
        #expect(try base(["num_classes": "5"], rows: 5).configuration.hasNullRow == false)
        #expect(try base(["num_classes": "5"], rows: 6).configuration.numClasses == 5)
        #expect(try base(["class_dropout_prob": "0.0"], rows: 5).configuration.numClasses == 5)
        // Arguments of an earlier stage say nothing of this table.
        #expect(try base(["num_classes": "1000"], rows: 5).configuration.numClasses == 4)
        let flow = try base(["path_type": "Linear", "prediction": "velocity"], rows: 4)
        #expect(flow.card.prediction == "velocity")
        #expect(flow.card.path == "linear")
        #expect(refusal { _ = try base(["path_type": "GVP", "prediction": "score"], rows: 4) }.contains("score on the path gvp"))
    }

    /// A torch checkpoint with these tensors and a Namespace of arguments, written by hand.
    private static func checkpoint(of path: String, _ arguments: [String: String], in folder: String) throws -> String {
        func number(_ value: Int) -> [UInt8] { withUnsafeBytes(of: Int32(value).littleEndian) { [0x4a] + $0 } }
        func text(_ text: String) -> [UInt8] { withUnsafeBytes(of: UInt32(text.utf8.count).littleEndian) { [0x58] + $0 } + text.utf8 }
        func global(_ module: String, _ name: String) -> [UInt8] { [0x63] + Array("\(module)\n\(name)\n".utf8) }
        func tuple(_ parts: [[UInt8]]) -> [UInt8] { [0x28] + parts.joined() + [0x74] }
        let file = try TensorFile(path: path)
        var model: [UInt8] = [], keys: [UInt8] = [], data: [UInt8] = []
        for (index, entry) in file.entries.enumerated() {
            let values = try file.floats(entry.name)
            let storage = tuple([text("storage"), global("torch", "FloatStorage"), text("\(index)"), text("cpu"), number(values.count), [0x4e]]) + [0x51]
            var strides = [Int](repeating: 1, count: entry.shape.count)
            for side in entry.shape.indices.dropLast().reversed() { strides[side] = strides[side + 1] * entry.shape[side + 1] }
            model +=
                text(entry.name) + global("torch._utils", "_rebuild_tensor_v2")
                + tuple([storage, number(0), tuple(entry.shape.map(number)), tuple(strides.map(number)), [0x89], [0x7d]]) + [0x52]
            keys += text("\(index)")
            data += withUnsafeBytes(of: UInt64(values.count).littleEndian) { Array($0) } + values.withUnsafeBytes { Array($0) }
        }
        let names = global("argparse", "Namespace") + [0x29, 0x81, 0x7d, 0x28] + arguments.flatMap { text($0) + text($1) } + [0x75, 0x62]
        let object = [0x80, 2, 0x7d, 0x28] + text("model") + [0x7d, 0x28] + model + [0x75] + text("args") + names + [0x75, 0x2e]
        let head: [UInt8] = [0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e, 0x80, 2, 0x4d, 0xe9, 3, 0x2e]
        let result = folder + "/checkpoint.pt"
        try Data(head + [0x80, 2, 0x7d, 0x2e] + object + [0x80, 2, 0x5d, 0x28] + keys + [0x65, 0x2e] + data).write(to: URL(filePath: result))
        return result
    }

    /// The base in float32, its port rounded, and the other way round: the coarser of the two decides.
    @Test(arguments: [DType.f16, .bf16])
    func halfPrecisionFitsItsBase(type: DType) throws {
        let file = try TensorFile(path: Self.container("port.pt")), path = folder + "/half.safetensors"
        try SafetensorsWriter.write(file.entries.map { OutgoingTensor($0, as: type) }, to: path)
        let adapter = try AdapterFile.read(path: path, base: base), whole = try AdapterFile.read(path: Self.container("port.pt"), base: base)
        #expect(zip(adapter.vector.values, whole.vector.values).allSatisfy { abs($0 - $1) <= max(abs($1), 1) / 128 })
        // A store keeps rounded matrices as float32; the values show that they were.
        let rounded = try write(as: type), stored = folder + "/stored.safetensors"
        try SafetensorsWriter.write(BaseFile(path: rounded, heads: 2).encoding(), to: stored)
        let coarse = try BaseFile(path: stored)
        #expect(try AdapterFile.read(path: Self.container("port.pt"), base: coarse).vector == whole.vector)
        // Another base is still another base.
        let other = try write { $0["blocks.1.attn.proj.weight"]?.values[5] += 0.1 }
        #expect(refusal { _ = try AdapterFile.read(path: path, base: BaseFile(path: other, heads: 2)) }.contains("'blocks.1.attn.proj.weight'"))
    }

    /// A table of positions is known again however it was rounded, also after it has become float32 again.
    @Test func roundedPositionsAreThePositions() throws {
        let roundings: [(name: String, body: (Float) -> Float)] = [
            ("float16", { Float(Float16($0)) }), ("bfloat16", { BFloat16.rounded($0) }),
            ("eight bits", { Float(bitPattern: ($0.bitPattern &+ 0x0008_0000) & 0xfff0_0000) }),
        ]
        for (name, body) in roundings {
            let path = try write { tensors in
                let exact = tensors["pos_embed"]?.values ?? []
                tensors["pos_embed"]?.values = exact.map(body)
            }
            #expect(try BaseFile(path: path, heads: 2).digest == base.digest, "\(name)")
        }
        let other = try write { $0["pos_embed"]?.values[5] += 0.002 }
        #expect(refusal { _ = try BaseFile(path: other, heads: 2) }.contains("differ from the sine-cosine table"))
    }

    @Test func foldersOfOneModelInAnyVariantAreRead() throws {
        let tensors = try TensorFile(path: Self.container("dit.safetensors")).entries.map { OutgoingTensor($0, as: .f32) }
        for name in ["model.safetensors", "diffusion_pytorch_model.fp16.safetensors", "model.ema.safetensors"] {
            let own = folder + "/\(name).d"
            try FileManager.default.createDirectory(atPath: own, withIntermediateDirectories: true)
            try SafetensorsWriter.write(tensors, to: "\(own)/\(name)")
            #expect(try BaseFile(path: own, heads: 2).digest == base.digest, "\(name)")
        }
        // The hub's mixin keeps a model's arguments beside it.
        try Data(#"{"num_heads": 2, "input_size": 4, "num_classes": 3}"#.utf8).write(to: URL(filePath: folder + "/model.safetensors.d/config.json"))
        #expect(try BaseFile(path: folder + "/model.safetensors.d").digest == base.digest)
        let plain = folder + "/plain"
        for (content, wanted) in [
            ("photo.jpg", "it holds 'photo.jpg'"), ("model-00001-of-00002.safetensors", "without the .index.json"), (".metadata", "a distributed checkpoint"),
            ("adapter_config.json", "a PEFT adapter"),
        ] {
            try? FileManager.default.removeItem(atPath: plain)
            try FileManager.default.createDirectory(atPath: plain, withIntermediateDirectories: true)
            try Data("x".utf8).write(to: URL(filePath: "\(plain)/\(content)"))
            let said = refusal { _ = try BaseFile(path: plain) }
            #expect(said.contains(wanted), "\(said)")
        }
    }

    /// One network of a checkpoint that holds others too.
    @Test func theNetworkIsFoundBesideAnAutoencoder() throws {
        let path = try write { tensors in
            tensors = Dictionary(uniqueKeysWithValues: tensors.map { ("denoiser.\($0.key)", $0.value) })
            tensors["vae.encoder.w"] = ([1], [0])
        }
        let found = try BaseFile(path: path, heads: 2)
        #expect(found.digest == base.digest)
        #expect(found.file.section == "denoiser")
    }

    /// Fields of diffusers' configurations that make other numbers of the same weights.
    @Test(arguments: [
        ("transformer/config.json", "norm_eps", "1e-3", "norm_eps"), ("transformer/config.json", "num_layers", "3", "a DiT has 2"),
        ("transformer/config.json", "patch_size", "4", "a DiT has 2"),
        ("transformer/config.json", "attention_head_dim", "4", "a DiT has 8"), ("transformer/config.json", "interpolation_scale", "2", "interpolation_scale"),
        ("transformer/config.json", "norm_elementwise_affine", "true", "a DiT has false"),
        ("transformer/config.json", "quantization_config", "{}", "is quantised"),
        ("scheduler/scheduler_config.json", "clip_sample", "true", "a DiT has false; to sample"),
        ("scheduler/scheduler_config.json", "clip_sample", "null", "clip_sample"),
        ("scheduler/scheduler_config.json", "thresholding", "true", "thresholding"),
        ("scheduler/scheduler_config.json", "rescale_betas_zero_snr", "true", "rescale_betas"),
        ("scheduler/scheduler_config.json", "trained_betas", "[0.1]", "1 value"),
        ("scheduler/scheduler_config.json", "timestep_spacing", "\"trailing\"", "a DiT has leading"),
        ("scheduler/scheduler_config.json", "_class_name", "\"FlowMatchEulerDiscreteScheduler\"", "a scheduler of noise prediction"),
        ("vae/config.json", "latents_mean", "[0.1]", "latents_mean"),
        ("vae/config.json", "_class_name", "\"AutoencoderTiny\"", "a DiT has AutoencoderKL"),
        ("vae/config.json", "scaling_factor", "\"high\"", "is not above 0"),
    ])
    func fieldsThatChangeNumbersAreRefused(file: String, field: String, value: String, wanted: String) throws {
        let copy = folder + "/pipeline", path = "\(copy)/\(file)"
        try FileManager.default.copyItem(atPath: Self.container("diffusers"), toPath: copy)
        var fields = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: path))) as? [String: Any])
        fields[field] = try JSONSerialization.jsonObject(with: Data(value.utf8), options: .fragmentsAllowed)
        // A byte order mark changes nothing.
        try (Data([0xef, 0xbb, 0xbf]) + JSONSerialization.data(withJSONObject: fields)).write(to: URL(filePath: path))
        let said = refusal { _ = try BaseFile(path: copy) }
        #expect(said.contains(wanted), "\(said)")
    }
}
