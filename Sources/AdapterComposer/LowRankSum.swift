import AdapterFormat

extension CanonicalSum {
    /// The low-rank pairs of a sum, nil where none of its adapters has any; those without add their values alone.
    ///
    /// Per layer the ranks of the sources stand side by side: A above A, and beside each other the B, each times its source's
    /// weight in the block and its scale. That product is exactly the weighted sum of the sources' products, which the sum of
    /// the factors would not be.
    func lowRankVector(over base: ComposingBase) throws(ComposerError) -> TunableVector? {
        let resolvedAdapters = resolvedAdapters
        guard let lora = resolvedAdapters.first(where: { $0.adapter.manifest.lowRank != nil }) else { return nil }
        var sources: [(weights: [Double], adapter: Adapter)] = []
        for part in parts {
            switch part.source {
            case .adapter(let resolved): sources.append((part.weights, resolved.adapter))
            case .merge(_, let arguments):
                let inside = arguments.flatMap(\.sum.resolvedAdapters)
                if inside.contains(where: { $0.adapter.manifest.lowRank != nil }) { throw .mergeOfPairs(name: lora.name) }
            }
        }
        let configuration = base.layout.configuration
        var ranks: [String: Int] = [:]
        var factors: [String: [Float]] = [:]
        for block in 0..<base.depth {
            for linear in LowRank.Linear.allCases {
                let name = linear.name(block: block)
                let pairs = sources.compactMap { source in Pair(source.adapter, base.layout, name, weight: source.weights[block]) }
                let rank = pairs.reduce(0) { $0 + $1.rank }
                guard rank > 0 else { continue }
                let outputs = linear.outputs(configuration)
                let limit = linear.largestRank(configuration)
                guard rank <= limit else { throw .tooManyRanks(layer: name, rank: rank, limit: limit) }
                ranks[name] = rank
                factors[LowRank.names(of: name).a] = pairs.flatMap { Array($0.a) }
                factors[LowRank.names(of: name).b] = (0..<outputs).flatMap { output in
                    pairs.flatMap { pair in
                        (0..<pair.rank).map { Float(pair.factor * Double(pair.b[pair.b.startIndex + output * pair.rank + $0])) }
                    }
                }
            }
        }
        guard !ranks.isEmpty else { return base.vector }
        let layout = base.layout.over(LowRank(ranks: ranks, scale: 1))
        var values = base.vector.extended(to: layout).values
        for tensor in layout.tensors { if let factor = factors[tensor.name] { values.replaceSubrange(tensor.range, with: factor) } }
        return TunableVector(values, layout: layout)
    }
}

/// One source's pair in one layer.
private struct Pair {
    let rank: Int
    /// Row-major (rank, inputs) and (outputs, rank).
    let a, b: ArraySlice<Float>
    let factor: Double

    init?(_ adapter: Adapter, _ base: TunableLayout, _ linear: String, weight: Double) {
        guard weight != 0, let lowRank = adapter.manifest.lowRank, let rank = lowRank.ranks[linear] else { return nil }
        let layout = adapter.manifest.layout(over: base), names = LowRank.names(of: linear)
        guard let a = layout[names.a], let b = layout[names.b] else { return nil }
        self.rank = rank
        self.a = adapter.vector.values[a.range]
        self.b = adapter.vector.values[b.range]
        factor = weight * Double(lowRank.scale(of: linear))
    }
}
