import Foundation
import SystemIO
import TensorFiles

/// Writes LoRA adapters as other libraries load them: PEFT's folder with `adapter_config.json`, and diffusers'
/// `pytorch_lora_weights.safetensors` with the same facts in its metadata.
package enum LowRankFolder {
    /// PEFT's folder, for a model in the reference's names. A class table that is not the base's is among `modules_to_save`, and a
    /// model with as many classes is wanted; biases are written as `bias: all` trains them.
    /// - Throws: where the adapter has no pairs, or the folder has other content.
    package static func writePEFT(_ adapter: Adapter, base: BaseFile, to path: String, as type: DType = .f32) throws {
        let pairs = try pairs(of: adapter, base, form: "PEFT")
        try makeFolder(path)
        var tensors: [OutgoingTensor] = []
        for pair in pairs {
            let names = LowRank.names(of: "base_model.model.\(pair.layer)")
            tensors.append(OutgoingTensor(names.a, shape: [pair.rank, pair.a.count / pair.rank], pair.a, as: type))
            tensors.append(OutgoingTensor(names.b, shape: [pair.b.count / pair.rank, pair.rank], pair.b, as: type))
        }
        let hasBiases = adapter.manifest.trainableSet.method == .loraBias
        if hasBiases {
            let wrapped = Set(pairs.map { $0.layer + ".bias" })
            for tensor in base.layout.tensors where tensor.kind == .bias {
                let name = wrapped.contains(tensor.name) ? tensor.name.dropLast("bias".count) + "base_layer.bias" : tensor.name
                tensors.append(OutgoingTensor("base_model.model.\(name)", shape: tensor.shape, Array(adapter.vector.values[tensor.range]), as: type))
            }
        }
        let hasTable = adapter.classes.values != base.classes.values
        if hasTable {
            let stored = adapter.classes.stored
            tensors.append(OutgoingTensor("base_model.model.\(TunableLayout.classTableName)", shape: stored.shape, stored.values, as: type))
        }
        var config = facts(pairs)
        config["peft_type"] = "LORA"
        config["bias"] = hasBiases ? "all" : "none"
        config["modules_to_save"] = hasTable ? ["y_embedder"] : NSNull()
        for key in ["base_model_name_or_path", "task_type"] { config[key] = NSNull() }
        try json(config, to: path + "/adapter_config.json")
        try SafetensorsWriter.write(tensors, metadata: ["format": "pt"], to: path + "/adapter_model.safetensors")
    }

    /// diffusers' folder: queries, keys and values have pairs of their own there, as they came or with one A for the three.
    /// - Throws: also where the adapter has a class table or biases of its own, for which that form has no place.
    package static func writeDiffusers(_ adapter: Adapter, base: BaseFile, to path: String, as type: DType = .f32) throws {
        let form = "diffusers", name = adapter.manifest.name ?? adapter.digest.short
        let fused = try pairs(of: adapter, base, form: form)
        guard adapter.manifest.trainableSet.method == .lora else {
            throw AdapterFormatError.noForm(adapter: name, form: form, reason: "it moves biases beside its pairs")
        }
        guard adapter.classes.values == base.classes.values else {
            throw AdapterFormatError.noForm(adapter: name, form: form, reason: "it has a class table of its own, which --format peft has a place for")
        }
        try makeFolder(path)
        let pairs = fused.flatMap(\.apart)
        let tensors = pairs.flatMap { pair in
            let names = LowRank.names(of: "transformer.\(pair.layer)")
            return [
                OutgoingTensor(names.a, shape: [pair.rank, pair.a.count / pair.rank], pair.a, as: type),
                OutgoingTensor(names.b, shape: [pair.b.count / pair.rank, pair.rank], pair.b, as: type),
            ]
        }
        let own = facts(pairs).map { ("transformer.\($0.key)", $0.value) }
        let metadata = try JSONSerialization.data(withJSONObject: Dictionary(uniqueKeysWithValues: own), options: [.sortedKeys, .withoutEscapingSlashes])
        try SafetensorsWriter.write(
            tensors, metadata: ["format": "pt", "lora_adapter_metadata": String(decoding: metadata, as: UTF8.self)],
            to: path + "/pytorch_lora_weights.safetensors")
    }

    /// One pair under the name of its layer.
    private struct Pair {
        let layer: String
        let rank: Int
        let scale: Double
        /// Row-major (rank, inputs) and (outputs, rank).
        let a, b: [Float]
        let place: LowRankNames.Place

        /// The pairs that diffusers has in the place of this one, without ranks that give a part nothing.
        var apart: [Pair] {
            let targets = LowRankNames.diffusers.filter { $0.linear == place.linear }
            let inputs = a.count / rank, rows = b.count / rank / targets.count
            return targets.compactMap { target in
                let top = (target.third ?? 0) * rows
                let kept = (0..<rank).filter { column in (0..<rows).contains { b[(top + $0) * rank + column] != 0 } }
                guard !kept.isEmpty else { return nil }
                return Pair(
                    layer: "transformer_blocks.\(place.block).\(target.suffix)", rank: kept.count, scale: scale,
                    a: kept.flatMap { a[($0 * inputs)..<(($0 + 1) * inputs)] }, b: (0..<rows).flatMap { row in kept.map { b[(top + row) * rank + $0] } },
                    place: place)
            }
        }
    }

    private static func pairs(of adapter: Adapter, _ base: BaseFile, form: String) throws -> [Pair] {
        guard let lowRank = adapter.manifest.lowRank else {
            throw AdapterFormatError.noForm(
                adapter: adapter.manifest.name ?? adapter.digest.short, form: form,
                reason: "it moves biases and scale factors, and only low-rank pairs have a place there")
        }
        let layout = adapter.manifest.layout(over: base.layout)
        return (0..<base.configuration.depth).flatMap { block in
            LowRank.Linear.allCases.compactMap { linear -> Pair? in
                let name = linear.name(block: block), names = LowRank.names(of: name)
                guard let rank = lowRank.ranks[name], let a = layout[names.a], let b = layout[names.b] else { return nil }
                return Pair(
                    layer: name, rank: rank, scale: Double(lowRank.scale(of: name)), a: Array(adapter.vector.values[a.range]),
                    b: Array(adapter.vector.values[b.range]),
                    place: LowRankNames.Place(block: block, linear: linear, third: nil))
            }
        }
    }

    /// Ranks and scales in the words of PEFT's LoraConfig.
    private static func facts(_ pairs: [Pair]) -> [String: Any] {
        func common<Value: Hashable & Comparable>(_ values: [Value]) -> Value? {
            Dictionary(grouping: values, by: \.self).max { ($0.value.count, $1.key) < ($1.value.count, $0.key) }?.key
        }
        let rank = common(pairs.map(\.rank)) ?? 1
        let alphas = pairs.map { $0.scale * Double($0.rank) }
        let alpha = common(alphas) ?? 1
        func number(_ value: Double) -> Any { Int(exactly: value).map { $0 as Any } ?? value }
        let others = zip(pairs, alphas).filter { $0.1 != alpha }.map { ($0.0.layer, number($0.1)) }
        return [
            "r": rank, "lora_alpha": number(alpha), "target_modules": pairs.map(\.layer),
            "rank_pattern": Dictionary(uniqueKeysWithValues: pairs.filter { $0.rank != rank }.map { ($0.layer, $0.rank) }),
            "alpha_pattern": Dictionary(uniqueKeysWithValues: others), "lora_dropout": 0, "bias": "none", "fan_in_fan_out": false,
            "init_lora_weights": true, "use_rslora": false, "use_dora": false, "inference_mode": true,
        ]
    }

    private static func makeFolder(_ path: String) throws {
        if let content = try? FileManager.default.contentsOfDirectory(atPath: path), !content.isEmpty {
            throw TensorFileError.unwritable(path: path, reason: "the folder has content; a new one is wanted")
        }
        do { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) } catch {
            throw TensorFileError.unwritable(path: path, reason: SystemError(error))
        }
    }

    private static func json(_ object: [String: Any], to path: String) throws {
        do {
            try JSONSerialization.data(withJSONObject: object, options: [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]).write(to: URL(filePath: path))
        } catch {
            throw TensorFileError.unwritable(path: path, reason: SystemError(error))
        }
    }
}
