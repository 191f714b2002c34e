/// The names that trainers give the tensors of low-rank pairs, and the layers of a DiT that they stand for.
///
/// PEFT: `base_model.model.blocks.0.attn.qkv.lora_A.weight`; diffusers: `transformer.transformer_blocks.0.attn1.to_q.lora_A.weight`,
/// and before PEFT `transformer_blocks.0.attn1.processor.to_q_lora.down.weight`; kohya's scripts:
/// `lora_unet_blocks_0_attn_qkv.lora_down.weight` with `.alpha` beside it.
enum LowRankNames {
    enum Part: Hashable { case a, b, bias, alpha, embeddingA, embeddingB }

    /// What a layer of a file is in the base: a linear layer, or queries, keys or values of the one that holds all three.
    struct Place: Hashable {
        let block: Int
        let linear: LowRank.Linear
        /// 0, 1 or 2 of `qkv`; nil is the whole layer.
        let third: Int?

        var name: String { linear.name(block: block) }
    }

    private static let suffixes: [(text: String, part: Part)] = [
        (".lora_A.weight", .a), (".lora_B.weight", .b), (".lora_B.bias", .bias), (".lora_down.weight", .a), (".lora_up.weight", .b),
        (".lora_linear_layer.down.weight", .a), (".lora_linear_layer.up.weight", .b), (".lora.down.weight", .a), (".lora.up.weight", .b),
        ("_lora.down.weight", .a), ("_lora.up.weight", .b), (".lora_embedding_A", .embeddingA), (".lora_embedding_B", .embeddingB), (".alpha", .alpha),
    ]

    /// What other methods of fine-tuning call their tensors.
    private static let others: [(mark: String, method: String)] = [
        ("lora_magnitude_vector", "DoRA"), ("dora_scale", "DoRA"), ("hada_w", "LoHa"), ("lokr_w", "LoKr"), ("lora_mid", "LoCon with a core tensor"),
        ("oft_r", "OFT"), ("oft_blocks", "OFT"), ("oft_diag", "OFT"), ("boft_", "BOFT"), ("ia3_l", "IA3"), ("vera_lambda", "VeRA"), ("lora_E", "AdaLoRA"),
        ("ranknum", "AdaLoRA"), ("vblora_", "VB-LoRA"), ("fourierft_", "FourierFT"), ("hra_u", "HRA"), ("randlora_", "RandLoRA"), ("c3a_kernel", "C3A"),
        ("shira_weight", "SHiRA"), ("trainable_tokens", "trained tokens"), ("road_theta", "RoAd"), ("on_input.weight", "LyCORIS IA3"),
        ("prompt_embeddings", "prompt tuning"), ("ln_tuning", "LN tuning"),
    ]

    /// The method of a tensor that is none of a plain pair; nil for any other.
    static func otherMethod(_ name: String) -> String? {
        if let known = others.first(where: { name.contains($0.mark) }) { return known.method }
        if name.hasPrefix("lora_te") || name.hasPrefix("text_encoder") { return "LoRA of a text encoder, which a DiT has none of" }
        return name.hasSuffix(".diff") || name.hasSuffix(".diff_b") ? "LyCORIS with full differences" : nil
    }

    /// Whether a tensor is of a pair, or of one of the methods beside it.
    static func isLowRank(_ name: String) -> Bool {
        split(name) != nil || name.contains("lora_") || otherMethod(name) != nil
    }

    /// A tensor's layer, under the file's own name for it without wrappers, and its part; nil where it is of no pair.
    static func split(_ name: String) -> (layer: String, part: Part)? {
        let name = plain(name)
        for (suffix, part) in suffixes where name.hasSuffix(suffix) {
            // "_lora.down" stands for a layer whose name has no point of its own before it.
            return (layer(String(name.dropLast(suffix.count))), part)
        }
        return nil
    }

    /// A name without wrappers, and without the names of adapters that PEFT puts into those of a model that is in use.
    static func plain(_ name: String) -> String {
        var parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        while parts.count > 2, ["base_model", "model", "transformer", "diffusion_model", "module", "unet"].contains(parts[0]) { parts.removeFirst() }
        if let at = parts.firstIndex(where: { ["lora_A", "lora_B"].contains($0) }), parts.count == at + 3 { parts.remove(at: at + 1) }
        if let at = parts.firstIndex(where: { ["lora_embedding_A", "lora_embedding_B"].contains($0) }) { parts.removeSubrange((at + 1)...) }
        if let at = parts.firstIndex(of: "modules_to_save"), at + 1 < parts.count {
            parts.remove(at: at)
            if at + 1 < parts.count, parts[at] == "default" { parts.remove(at: at) }
        }
        return parts.filter { $0 != "base_layer" && $0 != "processor" }.joined(separator: ".")
    }

    private static func layer(_ text: String) -> String {
        for old in ["to_q", "to_k", "to_v"] where text.hasSuffix(".\(old)") { return text }
        return text.hasSuffix(".to_out") ? text + ".0" : text
    }

    /// Every name that a layer with a place for a pair may have.
    static func places(depth: Int) -> [String: Place] {
        var places: [String: Place] = [:]
        for block in 0..<depth {
            for linear in LowRank.Linear.allCases { places[linear.name(block: block)] = Place(block: block, linear: linear, third: nil) }
            for (suffix, linear, third) in diffusers { places["transformer_blocks.\(block).\(suffix)"] = Place(block: block, linear: linear, third: third) }
        }
        for (name, place) in places {
            // kohya's scripts write every point as a line.
            let flat = name.replacing(".", with: "_")
            for prefix in ["lora_unet_", "lora_transformer_", "lora_dit_", "lycoris_"] { places[prefix + flat] = place }
        }
        return places
    }

    static let diffusers: [(suffix: String, linear: LowRank.Linear, third: Int?)] = [
        ("attn1.to_q", .qkv, 0), ("attn1.to_k", .qkv, 1), ("attn1.to_v", .qkv, 2), ("attn1.to_out.0", .proj, nil), ("ff.net.0.proj", .fc1, nil),
        ("ff.net.2", .fc2, nil),
    ]
}
