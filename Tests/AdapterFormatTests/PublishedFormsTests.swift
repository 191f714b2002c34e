import AdapterFormat
import Foundation
import TensorFiles
import Testing

/// A folder for one test, removed at its end.
private final class Scratch {
    let path = NSTemporaryDirectory() + "published-\(UUID().uuidString)"
    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// A copy of the recorded diffusers folder.
    func pipeline() throws -> String {
        let copy = path + "/pipeline-\(UUID().uuidString)"
        try FileManager.default.copyItem(atPath: container("diffusers"), toPath: copy)
        return copy
    }
}

private func container(_ name: String) -> String {
    URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/containers/\(name)").path
}

/// Rewrites a JSON file with other fields.
private func change(_ path: String, _ fields: [String: Any]) throws {
    let data = try Data(contentsOf: URL(filePath: path))
    var object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    for (key, value) in fields { object[key] = value }
    try JSONSerialization.data(withJSONObject: object).write(to: URL(filePath: path))
}

private func sentence(_ body: () throws -> Void) -> String {
    do { try body() } catch { return "\(error)" }
    return "nothing was refused"
}

/// The forms of `tools/goldens/containers.py`: torch and diffusers wrote them from the same values.
@Suite struct PublishedFormsTests {
    private let configuration = DiTConfiguration(
        inputSize: 4, patchSize: 2, inChannels: 4, hiddenSize: 16, depth: 2, numHeads: 2, numClasses: 3, learnSigma: true)

    /// Law 4, for bases.
    @Test(arguments: [
        "dit.pt", "dit-module.pt", "dit-train.pt", "dit-legacy.pt", "dit-strided.pt", "dit-parameters.pt", "dit-f64.pt",
        "dit-sharded.safetensors.index.json", "diffusers", "diffusers/transformer", "diffusers-bin", "diffusers-bin/transformer",
        "diffusers/transformer/diffusion_pytorch_model.safetensors", "diffusers-bin/transformer/diffusion_pytorch_model.bin",
    ])
    func theSameValuesAreTheSameBase(form: String) throws {
        let truth = try BaseFile(path: container("dit.safetensors"))
        // No checkpoint of torch says how many heads share the width.
        let base = try BaseFile(path: container(form), heads: form.hasPrefix("dit") ? 2 : nil)
        #expect(base.configuration == configuration)
        #expect(base.digest == truth.digest)
        #expect(base.vector == truth.vector)
        #expect(base.classes.values == truth.classes.values)
        try base.checkMatrices()
    }

    @Test func theStoresFormIsAFixedPoint() throws {
        let scratch = try Scratch()
        let base = try BaseFile(path: container("dit-strided.pt"), heads: 2)
        let path = scratch.path + "/base.safetensors"
        try SafetensorsWriter.write(base.encoding(), to: path)
        let stored = try BaseFile(path: path)
        #expect(stored.digest == base.digest)
        #expect(Digest(of: try MappedFile(path: path).pieces) == base.digest)
        #expect(stored.configuration == configuration)
        #expect(stored.file[BaseFile.positionsName] == nil)
    }

    /// Bases that adapters name by digest must keep it.
    @Test func theShippedBaseIsInTheStoresForm() throws {
        let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "adapters/base.safetensors").path
        #expect(try BaseFile(path: path).digest == Digest(of: MappedFile(path: path).pieces))
    }

    @Test func halfPrecisionIsStoredAsItIsOrExactly() throws {
        let scratch = try Scratch()
        let brain = try BaseFile(path: container("dit-bf16.pt"), heads: 2), whole = try BaseFile(path: container("dit.safetensors"))
        let path = scratch.path + "/base.safetensors"
        try SafetensorsWriter.write(brain.encoding(), to: path)
        let stored = try TensorFile(path: path)
        for tensor in configuration.frozenTensors { #expect(try stored.entry(tensor.name).dtype == .bf16) }
        #expect(try stored.entry("blocks.0.attn.qkv.bias").dtype == .f32)
        // Rounding the matrices alone is another base than rounding everything.
        try SafetensorsWriter.write(whole.encoding(as: .bf16), to: path)
        let rounded = try BaseFile(path: path)
        #expect(rounded.vector == whole.vector)
        #expect(rounded.digest != whole.digest)
        #expect(rounded.digest != brain.digest)
        let name = "blocks.1.mlp.fc2.weight"
        #expect(try rounded.file.floats(name) == whole.file.floats(name).map(BFloat16.rounded))
        let half = try BaseFile(path: container("dit-f16.pt"), heads: 2)
        try SafetensorsWriter.write(half.encoding(), to: path)
        #expect(try TensorFile(path: path).floats(name) == whole.file.floats(name).map { Float(Float16($0)) })
    }

    @Test func aPipelineFolderBringsNamesAndAutoencoder() throws {
        let base = try BaseFile(path: container("diffusers"))
        #expect(base.card.classNames == ["tench, Tinca tinca", "crane", "crane, machine"])
        #expect(base.card.name == "diffusers")
        #expect(base.card.prediction == "epsilon")
        #expect(base.card.path == "linear-vp")
        #expect(base.configuration.learnSigma)
        // Of two classes with one synonym the later counts, but a whole name before any synonym.
        #expect(base.classes.index(of: "Tinca tinca") == 0)
        #expect(base.classes.index(of: "machine") == 2)
        #expect(base.classes.index(of: "crane") == 1)
        #expect(base.classes.index(of: "tench, Tinca tinca") == 0)
        #expect(base.classes.index(of: "cran") == nil)
        let vae = try #require(base.autoencoders.first)
        #expect(vae.kind == .full)
        #expect(vae.latentScale == 0.18215)
        #expect(vae.file["decoder.conv_in.weight"] != nil)
        let scratch = try Scratch()
        let path = scratch.path + "/vae.safetensors"
        try SafetensorsWriter.write(vae.encoding, to: path)
        let again = try AutoencoderFile(path: path)
        #expect(Digest(of: again.encoding.pieces) == Digest(of: vae.encoding.pieces))
        #expect(try TensorFile(path: path).metadata["config"]?.contains("\"norm_num_groups\":2") == true)
        #expect(try BaseFile(path: container("diffusers-bin")).autoencoders.isEmpty)
    }

    @Test func configurationsWithMoreLessAndNullFieldsAreRead() throws {
        let scratch = try Scratch()
        let path = try scratch.pipeline()
        let transformer = path + "/transformer/config.json"
        try change(
            transformer,
            [
                "cross_attention_dim": NSNull(), "norm_eps": NSNull(), "_class_name": "Transformer2DModel", "out_channels": NSNull(),
                "num_embeds_ada_norm": 4, "a_later_field": ["x": 1],
            ])
        try change(path + "/vae/config.json", ["scaling_factor": NSNull(), "shift_factor": NSNull()])
        try FileManager.default.removeItem(atPath: path + "/scheduler")
        let base = try BaseFile(path: path)
        #expect(base.configuration == configuration)
        #expect(base.autoencoders.first?.latentScale == 0.18215)
        #expect(try base.digest == BaseFile(path: container("dit.safetensors")).digest)
        try change(path + "/model_index.json", ["id2label": ["0": "tench", "2": "crane"]])
        #expect(try BaseFile(path: path).card.classNames == ["tench", "1", "crane"])
    }

    @Test func whatIsNoPublishedDiTIsRefusedByField() throws {
        let scratch = try Scratch()
        let faults: [(file: String, fields: [String: Any], sentence: String)] = [
            ("model_index.json", ["_class_name": "StableDiffusionPipeline"], "'StableDiffusionPipeline'; a DiT has DiTPipeline"),
            ("model_index.json", ["id2label": ["x": "y"]], "'x' is not the number of a class"),
            ("model_index.json", ["id2label": ["0": "a"]], "1 class name for 3 classes"),
            ("transformer/config.json", ["_class_name": "UNet2DModel"], "'UNet2DModel'"),
            ("transformer/config.json", ["norm_type": "ada_norm_single"], "'norm_type'"),
            ("transformer/config.json", ["activation_fn": "gelu"], "a DiT has gelu-approximate"),
            ("transformer/config.json", ["num_attention_heads": 5], "5 attention heads do not divide a width of 16"),
            ("transformer/config.json", ["sample_size": "large"], "'sample_size' is not of the kind it should be"),
            ("scheduler/scheduler_config.json", ["prediction_type": "v_prediction"], "a DiT has epsilon"),
            ("scheduler/scheduler_config.json", ["beta_end": 0.012], "'beta_end'"),
            ("vae/config.json", ["scaling_factor": -1], "-1.0 is not above 0"),
        ]
        for fault in faults {
            let path = try scratch.pipeline()
            try change("\(path)/\(fault.file)", fault.fields)
            let said = sentence { _ = try BaseFile(path: path) }
            #expect(said.contains(fault.sentence), "\(said)")
        }
    }

    /// The tensors of a file with a change, as a file in the pipeline's transformer folder.
    private func rewrite(_ path: String, _ body: (inout [String: (shape: [Int], values: [Float])]) -> Void) throws {
        let weights = path + "/transformer/diffusion_pytorch_model.safetensors"
        let file = try TensorFile(path: weights)
        var tensors: [String: (shape: [Int], values: [Float])] = [:]
        for entry in file.entries { tensors[entry.name] = (entry.shape, try file.floats(entry.name)) }
        body(&tensors)
        try SafetensorsWriter.write(tensors.sorted { $0.key < $1.key }.map { OutgoingTensor($0.key, shape: $0.value.shape, $0.value.values) }, to: weights)
    }

    @Test func copiesOfTheEmbeddersMustBeEqual() throws {
        let scratch = try Scratch()
        let path = try scratch.pipeline()
        try rewrite(path) { $0["transformer_blocks.1.norm1.emb.timestep_embedder.linear_2.bias"]?.values[3] += 1e-6 }
        #expect(throws: AdapterFormatError.self) { try BaseFile(path: path) }
        #expect(sentence { _ = try BaseFile(path: path) }.contains("block 1 of"))
    }

    @Test func strayAndMissingTensorsAreNamedAndPositionsAreChecked() throws {
        let truth = try BaseFile(path: container("dit.safetensors"))
        let table = configuration.positions
        let cases: [(String, String?, (inout [String: (shape: [Int], values: [Float])]) -> Void)] = [
            ("positions that are right", nil, { $0["pos_embed"] = ([1, 4, 16], table) }),
            ("positions that are wrong", "differ from the sine-cosine table", { $0["pos_embed"] = ([1, 4, 16], table.map { $0 + 0.01 }) }),
            ("a stray tensor", "has a tensor 'lora.up'", { $0["lora.up"] = ([1], [0]) }),
            ("a missing part", "no tensor 'transformer_blocks.1.attn1.to_k.bias'", { $0["transformer_blocks.1.attn1.to_k.bias"] = nil }),
            ("a missing copy", "class_embedder", { $0["transformer_blocks.1.norm1.emb.class_embedder.embedding_table.weight"] = nil }),
            ("parts that do not fit", "cannot be stacked", { $0["transformer_blocks.0.attn1.to_v.weight"] = ([16, 8], [Float](repeating: 0, count: 128)) }),
            ("a matrix that is not finite", "not a finite number", { $0["transformer_blocks.0.ff.net.2.weight"]?.values[7] = .nan }),
        ]
        let scratch = try Scratch()
        for (what, wanted, body) in cases {
            let path = try scratch.pipeline()
            try rewrite(path, body)
            let said = sentence {
                let base = try BaseFile(path: path)
                try base.checkMatrices()
                #expect(wanted == nil, "\(what)")
                #expect(base.digest == truth.digest, "\(what)")
            }
            #expect(wanted.map(said.contains) ?? true, "\(what): \(said)")
        }
    }

    /// `DiT.md`, "Names in diffusers": the round trip must be bit exact.
    @Test func diffusersAndBackIsTheSameBase() throws {
        let scratch = try Scratch()
        let source = try BaseFile(path: container("diffusers"))
        let base = try BaseFile(path: container("dit-strided.pt"), heads: 2, card: source.card)
        let folder = scratch.path + "/exported"
        try DiffusersFolder.write(base, autoencoders: source.autoencoders, to: folder)
        let again = try BaseFile(path: folder)
        #expect(again.digest == base.digest)
        #expect(again.card.classNames == base.card.classNames)
        #expect(Digest(of: try #require(again.autoencoders.first).encoding.pieces) == Digest(of: try #require(source.autoencoders.first).encoding.pieces))
        let (written, recorded) = (
            try TensorFile(path: folder + "/transformer/diffusion_pytorch_model.safetensors"),
            try TensorFile(path: container("diffusers/transformer/diffusion_pytorch_model.safetensors"))
        )
        #expect(Set(written.entries.map(\.name)) == Set(recorded.entries.map(\.name)))
        for entry in recorded.entries { #expect(try written.entry(entry.name).hasSameValues(as: entry), "\(entry.name)") }
        #expect(throws: TensorFileError.self) { try DiffusersFolder.write(base, to: folder) }
        let file = scratch.path + "/exported.safetensors"
        try SafetensorsWriter.write(base.exported(), to: file)
        #expect(try BaseFile(path: file).digest == base.digest)
        // What the reference's own load_state_dict compares: every name and shape, and no others.
        let state = try TensorFile(path: container("dit.pt"))
        #expect(try Set(TensorFile(path: file).entries.map(\.name)) == Set(state.entries.map(\.name)))
    }

    /// A tiny autoencoder of a pipeline is its `vae`, or lies beside the full one in a folder of ours.
    @Test func aTinyAutoencoderGoesOutAndComesBack() throws {
        let scratch = try Scratch()
        let base = try BaseFile(path: container("diffusers"))
        let tiny = try AutoencoderFile(path: container("../vae-tiny-4.safetensors"))
        #expect(tiny.kind == .tiny)
        #expect(tiny.latentScale == 1)
        for (others, names) in [([], ["AutoencoderTiny"]), (base.autoencoders, ["AutoencoderKL", "AutoencoderTiny"])] {
            let folder = "\(scratch.path)/with-\(names.count)"
            try DiffusersFolder.write(base, autoencoders: others + [tiny], to: folder)
            let index = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: folder + "/model_index.json"))) as? [String: Any]
            #expect(index?["vae"] as? [String] == ["diffusers", names[0]])
            let again = try BaseFile(path: folder).autoencoders
            #expect(again.map(\.kind) == (names.count == 1 ? [.tiny] : [.full, .tiny]))
            let back = try #require(again.last)
            #expect(Digest(of: back.encoding.pieces) == Digest(of: tiny.encoding.pieces))
        }
        let sixteen = try AutoencoderFile(path: container("../vae-kl-16.safetensors"))
        #expect(sixteen.kind == .full)
        #expect(sixteen.latentScale == 1.5305)
    }

    @Test func aPortsCheckpointIsTheAdapterInIt() throws {
        let base = try BaseFile(path: container("dit.safetensors"))
        let adapter = try AdapterFile.read(path: container("port.pt"), base: base)
        #expect(adapter == (try AdapterFile.read(path: container("port.safetensors"), base: base)))
        #expect(adapter.manifest.trainableSet == TrainableSet(.difffit, gammaDepth: 1))
        // The matrices beside it are compared with the base's.
        let scratch = try Scratch()
        let path = scratch.path + "/other.safetensors"
        let name = "blocks.1.attn.proj.weight"
        let others = try base.file.entries.map { entry in
            OutgoingTensor(entry.name, shape: entry.shape, try base.file.floats(entry.name).map { entry.name == name ? $0 + 0.01 : $0 })
        }
        try SafetensorsWriter.write(others, to: path)
        let other = try BaseFile(path: path, heads: 2)
        #expect(throws: AdapterFormatError.otherMatrix(file: container("port.pt"), name: name, base: other.digest.short)) {
            try AdapterFile.read(path: container("port.pt"), base: other)
        }
    }

    /// An adapter of a base is one of the same base with rounded matrices too.
    @Test func aRoundedBaseTakesTheAdaptersOfItsOriginal() throws {
        let scratch = try Scratch()
        let base = try BaseFile(path: container("dit.safetensors"))
        let adapter = try AdapterFile.read(path: container("port.pt"), base: base)
        let file = scratch.path + "/adapter.safetensors", path = scratch.path + "/rounded.safetensors"
        try AdapterFile.write(adapter, layout: base.layout, to: file)
        try SafetensorsWriter.write(base.encoding(as: .bf16), to: path)
        #expect(throws: AdapterFormatError.self) { try AdapterFile.read(path: file, base: BaseFile(path: path)) }
        var card = base.card
        card.roundedFrom = base.digest
        let rounded = try BaseFile(path: path, card: card)
        let moved = try AdapterFile.read(path: file, base: rounded)
        #expect(moved.vector == adapter.vector)
        #expect(moved.manifest.baseDigest == rounded.digest)
        #expect(try AdapterFile.read(path: container("port.pt"), base: rounded).vector == adapter.vector)
    }
}
