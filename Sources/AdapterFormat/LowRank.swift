/// The low-rank pairs of a LoRA adapter (arXiv 2106.09685): for some linear layers y = W x becomes y = W x + scale B (A x).
package struct LowRank: Sendable, Hashable, Codable {
    /// Rank per linear layer by its reference name, such as "blocks.3.attn.qkv"; a layer of rank 0 has no pair.
    package let ranks: [String: Int]
    /// alpha / rank in LoRA's terms, one number for all layers.
    package let scale: Float

    package init(ranks: [String: Int], scale: Float) {
        self.ranks = ranks.filter { $0.value > 0 }
        self.scale = scale
    }

    /// The same rank in every layer of the targets.
    package init(rank: Int, scale: Float = 1, targets: Set<Linear>, _ configuration: DiTConfiguration) {
        let names = (0..<configuration.depth).flatMap { block in targets.map { $0.name(block: block) } }
        self.init(ranks: Dictionary(uniqueKeysWithValues: names.map { ($0, rank) }), scale: scale)
    }

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
    }

    /// Names of a pair's two tensors in files, as public trainers write them.
    package static func names(of linear: String) -> (a: String, b: String) { (linear + ".lora_A.weight", linear + ".lora_B.weight") }

    /// What keeps these pairs from a base, since ranks come from outside: each must name a linear layer and be no larger than it.
    package func fault(on configuration: DiTConfiguration) -> String? {
        var sizes: [String: Int] = [:]
        for linear in Linear.allCases {
            let size = min(linear.inputs(configuration), linear.outputs(configuration))
            for block in 0..<configuration.depth { sizes[linear.name(block: block)] = size }
        }
        guard scale.isFinite, !ranks.isEmpty else { return "low-rank pairs need a finite scale and at least one layer" }
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
