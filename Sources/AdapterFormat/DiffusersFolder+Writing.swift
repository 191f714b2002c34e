import Foundation
import SystemIO
import TensorFiles

extension DiffusersFolder {
    /// Writes a base as a pipeline folder that diffusers loads; reading it again gives the same base bit for bit.
    /// - Parameter autoencoders: written too where they have diffusers' names; a tiny one beside the full one goes into a folder that
    ///   diffusers passes over.
    /// - Throws: where the folder has other content, or the base is none that diffusers' DiT can express.
    package static func write(_ base: BaseFile, autoencoders: [AutoencoderFile] = [], to path: String) throws {
        if let reason = inexpressible(base) { throw AdapterFormatError.notDiffusers(base: base.digest.short, reason: reason) }
        let files = FileManager.default
        if let content = try? files.contentsOfDirectory(atPath: path), !content.isEmpty {
            throw TensorFileError.unwritable(path: path, reason: "the folder has content; a new one is wanted")
        }
        let full = autoencoders.first { $0.kind == .full && $0.file["decoder.conv_norm_out.weight"] != nil }
        let tiny = autoencoders.first { $0.kind == .tiny }
        let parts = [("vae", full ?? tiny), (tinyFolder, full == nil ? nil : tiny)].compactMap { folder, part in part.map { (folder, $0) } }
        do {
            for part in ["transformer", "scheduler"] + parts.map(\.0) {
                try files.createDirectory(atPath: "\(path)/\(part)", withIntermediateDirectories: true)
            }
            try json(transformerConfig(base.configuration), to: path + "/transformer/config.json")
            try json(scheduleConfig, to: path + "/scheduler/scheduler_config.json")
            try json(index(base, vae: parts.first?.1), to: path + "/model_index.json")
            for case (let folder, let part) in parts {
                if let config = part.config { try Data(config.utf8).write(to: URL(filePath: "\(path)/\(folder)/config.json")) }
            }
        } catch let error as CocoaError {
            throw TensorFileError.unwritable(path: path, reason: SystemError(error))
        }
        var metadata = ["format": "pt"]
        if base.isSparse { metadata[SparsityConfiguration.key] = try sortedJSON(SparsityConfiguration.dense) }
        let weights = SafetensorsEncoding(try transformer(base), metadata: metadata)
        try SafetensorsWriter.write(weights, to: path + "/transformer/diffusion_pytorch_model.safetensors")
        for (folder, part) in parts { try SafetensorsWriter.write(part.encoding, to: "\(path)/\(folder)/diffusion_pytorch_model.safetensors") }
    }

    /// What diffusers' DiT has no place for.
    private static func inexpressible(_ base: BaseFile) -> String? {
        let neutral = TunableVector.neutral(base.layout).values
        let moved = base.layout.tensors.first { $0.kind != .bias && base.vector.values[$0.range] != neutral[$0.range] }
        guard base.classes.hasNullRow else { return "its class table has no null row, which diffusers' always has" }
        if let moved { return "its '\(moved.name)' is not neutral" }
        guard base.card.prediction == "epsilon", base.card.path == "linear-vp" else {
            return "it predicts \(base.card.prediction) on the \(base.card.path) path"
        }
        return nil
    }

    /// The tensors under diffusers' names: stacked ones taken apart by rows, embedders copied into every block.
    private static func transformer(_ base: BaseFile) throws -> [OutgoingTensor] {
        var tensors: [OutgoingTensor] = []
        let values = base.vector.values
        for stack in DiffusersNames.stacks(depth: base.configuration.depth) {
            let (name, parts) = (stack.name, stack.parts)
            let embedder = DiffusersNames.embedders.first { $0.name == name }
            let names = embedder.map { embedder in (0..<base.configuration.depth).map { DiffusersNames.copy(embedder.suffix, block: $0) } } ?? parts
            let entry = try base.file.entry(name)
            let stacked = embedder == nil ? parts.count : 1
            let shape = [entry.shape[0] / stacked] + entry.shape.dropFirst()
            let count = shape.reduce(1, *)
            for (index, part) in names.enumerated() {
                let first = stacked == 1 ? 0 : index * count
                if let tunable = base.layout[name] {
                    let own = (tunable.range.lowerBound + first)..<(tunable.range.lowerBound + first + count)
                    tensors.append(OutgoingTensor(part, shape: shape, Array(values[own])))
                } else {
                    tensors.append(
                        OutgoingTensor(part, shape: shape, as: entry.dtype == .bf16 ? .bf16 : .f32) { range in
                            entry.floats((range.lowerBound + first)..<(range.upperBound + first))
                        })
                }
            }
        }
        return tensors
    }

    private static func json(_ object: [String: Any], to path: String) throws {
        let data = try JSONSerialization.data(withJSONObject: object, options: [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes])
        try data.write(to: URL(filePath: path))
    }

    private static func index(_ base: BaseFile, vae: AutoencoderFile?) -> [String: Any] {
        var index: [String: Any] = [
            "_class_name": "DiTPipeline", "scheduler": ["diffusers", "DDIMScheduler"], "transformer": ["diffusers", "DiTTransformer2DModel"],
        ]
        if let vae { index["vae"] = ["diffusers", vae.kind == .tiny ? "AutoencoderTiny" : "AutoencoderKL"] }
        if !base.card.classNames.isEmpty {
            index["id2label"] = Dictionary(uniqueKeysWithValues: base.card.classNames.enumerated().map { ("\($0)", $1) })
        }
        return index
    }

    private static func transformerConfig(_ c: DiTConfiguration) -> [String: Any] {
        [
            "_class_name": "DiTTransformer2DModel", "activation_fn": "gelu-approximate", "attention_bias": true,
            "attention_head_dim": c.headDimension, "dropout": 0, "in_channels": c.inChannels, "norm_elementwise_affine": false,
            "norm_eps": 1e-5, "norm_num_groups": 32, "norm_type": "ada_norm_zero", "num_attention_heads": c.numHeads,
            "num_embeds_ada_norm": c.numClasses, "num_layers": c.depth, "out_channels": c.outChannels, "patch_size": c.patchSize,
            "sample_size": c.inputSize, "upcast_attention": false,
        ]
    }

    private static var scheduleConfig: [String: Any] {
        [
            "_class_name": "DDIMScheduler", "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "clip_sample": false,
            "num_train_timesteps": 1000, "prediction_type": "epsilon", "set_alpha_to_one": true, "steps_offset": 0,
        ]
    }
}
