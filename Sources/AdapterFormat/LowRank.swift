/// The low-rank pairs of a LoRA adapter (arXiv 2106.09685): for some linear layers y = W x becomes y = W x + scale B (A x).
package struct LowRank: Sendable, Hashable, Codable {
    /// Rank per linear layer by its reference name, such as "blocks.3.attn.qkv"; a layer of rank 0 has no pair.
    package let ranks: [String: Int]
    /// alpha / rank in LoRA's terms, of every layer that `scales` does not name.
    package let scale: Float
    /// Layers with a scale of their own, as `alpha_pattern` and `rank_pattern` give them.
    package let scales: [String: Float]

    package init(ranks: [String: Int], scale: Float, scales: [String: Float] = [:]) {
        self.ranks = ranks.filter { $0.value > 0 }
        self.scale = scale
        self.scales = scales.filter { $0.value != scale && ranks[$0.key] ?? 0 > 0 }
    }

    /// A scale for each layer; the one that most of them have stands for all.
    package init(ranks: [String: Int], scales: [String: Float]) {
        let counts = Dictionary(grouping: ranks.keys.map { scales[$0] ?? 1 }, by: \.self).mapValues(\.count)
        let common = counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key ?? 1
        self.init(ranks: ranks, scale: common, scales: scales)
    }

    /// The same rank in every layer of the targets.
    package init(rank: Int, scale: Float = 1, targets: Set<Linear>, _ configuration: DiTConfiguration) {
        let names = (0..<configuration.depth).flatMap { block in targets.map { $0.name(block: block) } }
        self.init(ranks: Dictionary(uniqueKeysWithValues: names.map { ($0, rank) }), scale: scale)
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        ranks = try container.decode([String: Int].self, forKey: .ranks)
        scale = try container.decode(Float.self, forKey: .scale)
        scales = try container.decodeIfPresent([String: Float].self, forKey: .scales) ?? [:]
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(ranks, forKey: .ranks)
        try container.encode(scale, forKey: .scale)
        if !scales.isEmpty { try container.encode(scales, forKey: .scales) }
    }

    private enum CodingKeys: String, CodingKey { case ranks, scale, scales }

    package func scale(of linear: String) -> Float { scales[linear] ?? scale }

    /// The linear layers of a block that can have a pair.
    package enum Linear: String, Sendable, Codable, CaseIterable {
        case qkv = "attn.qkv"
        case proj = "attn.proj"
        case fc1 = "mlp.fc1"
        case fc2 = "mlp.fc2"

        package func name(block: Int) -> String { "blocks.\(block).\(rawValue)" }

        package func inputs(_ configuration: DiTConfiguration) -> Int {
            self == .fc2 ? configuration.mlpSize : configuration.hiddenSize
        }

        package func outputs(_ configuration: DiTConfiguration) -> Int {
            switch self {
            case .qkv: 3 * configuration.hiddenSize
            case .proj, .fc2: configuration.hiddenSize
            case .fc1: configuration.mlpSize
            }
        }

        /// Most ranks that are taken: queries, keys and values may each have a pair of their own in the one of all three.
        package func largestRank(_ configuration: DiTConfiguration) -> Int { max(inputs(configuration), outputs(configuration)) }
    }

    /// Names of a pair's two tensors in files, as public trainers write them.
    package static func names(of linear: String) -> (a: String, b: String) { (linear + ".lora_A.weight", linear + ".lora_B.weight") }

    /// What keeps these pairs from a base, since ranks come from outside: each must name a linear layer and be no larger than its
    /// larger side.
    package func fault(on configuration: DiTConfiguration) -> String? {
        var sizes: [String: Int] = [:]
        for linear in Linear.allCases {
            for block in 0..<configuration.depth { sizes[linear.name(block: block)] = linear.largestRank(configuration) }
        }
        guard scale.isFinite, scales.allSatisfy({ $0.value.isFinite && ranks[$0.key] != nil }), !ranks.isEmpty else {
            return "low-rank pairs need a finite scale and at least one layer"
        }
        return ranks.sorted { $0.key < $1.key }.first { $0.value < 1 || $0.value > sizes[$0.key] ?? 0 }.map {
            "rank \($0.value) of '\($0.key)' does not fit the base"
        }
    }

    /// The largest rank, 0 where there is no pair.
    package var largest: Int { ranks.values.max() ?? 0 }
}

extension TunableLayout {
    /// This table with the pairs' tensors after it: a LoRA adapter is a vector over that, in which everything before the pairs
    /// is the base's own.
    package func adding(_ lowRank: LowRank) -> TunableLayout {
        precondition(self.lowRank == nil, "this table has low-rank pairs already")
        var tensors = tensors
        var end = count
        for block in 0..<configuration.depth {
            for linear in LowRank.Linear.allCases {
                let name = linear.name(block: block)
                guard let rank = lowRank.ranks[name] else { continue }
                let names = LowRank.names(of: name)
                for (name, shape) in [(names.a, [rank, linear.inputs(configuration)]), (names.b, [linear.outputs(configuration), rank])] {
                    let count = shape[0] * shape[1]
                    tensors.append(TunableTensor(name: name, kind: .lowRank, range: end..<(end + count), shape: shape, block: block))
                    end += count
                }
            }
        }
        return TunableLayout(configuration, tensors, lowRank: lowRank)
    }

    /// The base's table, or that with these pairs.
    package func over(_ lowRank: LowRank?) -> TunableLayout {
        guard let lowRank, lowRank != self.lowRank else { return self }
        return adding(lowRank)
    }
}
