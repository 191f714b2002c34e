import AdapterFormat
import TensorMath

extension CanonicalSum {
    /// The vector and the class table that the sum stands for, as an adapter with its parents and its recipe.
    ///
    /// A block in which one source has the weight 1 and no other any takes that source's values to the last bit; elsewhere the
    /// differences against the base are summed in double precision in the order of the sources' digests.
    /// - Parameter labelsFrom: name or digest of the one adapter whose class table is taken, under its own class names.
    package func adapter(over base: ComposingBase, labelsFrom: String? = nil) throws(ComposerError) -> Adapter {
        if parts.isEmpty { return base.adapter }
        if let only, only.adapter.manifest.isDomain, labelsFrom == nil || only.isNamed(labelsFrom ?? "") { return only.adapter }
        if let steps = resolvedAdapters.first(where: { $0.adapter.manifest.distillation?.steps != nil }) { throw .stepsAsOneVector(name: steps.name) }
        try checkRecovery(depth: base.depth)
        let resolvedAdapters = resolvedAdapters
        if let other = resolvedAdapters.first(where: { $0.adapter.manifest.imageGrid != resolvedAdapters[0].adapter.manifest.imageGrid }) {
            throw .mixedResolutions(first: resolvedAdapters[0].name, second: other.name)
        }
        let pairs = try lowRankVector(over: base)
        let (sum, null) = values(over: base)
        if Task.isCancelled { throw .cancelled }
        // Biases that stand beside pairs are summed like any others.
        let vector =
            pairs.map { TunableVector(sum + $0.values.dropFirst(sum.count), layout: base.layout.over($0.lowRank)) } ?? TunableVector(sum, layout: base.layout)
        let domains = resolvedAdapters.filter(\.adapter.manifest.isDomain)
        let hasNullRow = base.hasNullRow && domains.allSatisfy(\.adapter.classes.hasNullRow)
        guard vector.values.allSatisfy(\.isFinite), !hasNullRow || null.allSatisfy(\.isFinite) else { throw .notFinite(recipe: label) }
        let classes: ClassTable
        if let labelsFrom {
            guard let chosen = domains.first(where: { $0.isNamed(labelsFrom) }) else {
                throw .noLabels(name: labelsFrom, among: domains.map(\.name))
            }
            classes = chosen.adapter.classes
        } else {
            let own = hasNullRow ? null : [Float](repeating: -.infinity, count: null.count)
            // Distilled vectors alone leave the base its classes.
            classes = domains.isEmpty ? base.classes : united(domains, null: own)
        }
        let manifests = resolvedAdapters.map(\.adapter.manifest)
        var manifest = AdapterManifest(
            name: nil, baseDigest: base.digest, layoutDigest: base.layout.over(vector.lowRank).digest,
            trainableSet: vector.lowRank == nil
                ? TrainableSet(uniting: manifests.map(\.trainableSet)) : TrainableSet(unitingPairs: manifests.map(\.trainableSet)),
            classes: classes.names, prediction: base.prediction, path: base.path, lowRank: vector.lowRank)
        manifest.resolution = manifests[0].resolution
        manifest.positionScale = manifests[0].positionScale
        manifest.parents = resolvedAdapters.map(\.digest)
        manifest.recipe = text
        manifest.foldedGuidance = try foldedGuidance()
        manifest.recovery = resolvedAdapters.compactMap(\.recovery).first
        return Adapter(manifest: manifest, vector: vector, classes: classes)
    }

    /// The summed vector alone.
    package func vector(over base: ComposingBase) -> [Float] { values(over: base).vector }

    /// The summed vector and null row.
    fileprivate func values(over base: ComposingBase) -> (vector: [Float], null: [Float]) {
        let sources = parts.map { $0.source.values(over: base) }
        // One source as it is stays where it lies: a merge of many holds none of them twice.
        if parts.count == 1, parts[0].weights.allSatisfy({ $0 == 1 }) { return sources[0] }
        var vector = base.vector.values
        // Neighbouring blocks with the same weights are one range.
        var first = 0
        while first < base.depth {
            var last = first
            while last + 1 < base.depth, parts.allSatisfy({ $0.weights[last + 1] == $0.weights[first] }) { last += 1 }
            let range = base.range(ofBlock: first).lowerBound..<base.range(ofBlock: last).upperBound
            addWeighted(zip(parts, sources).map { WeightedValues($0.weights[first], $1.vector) }, to: &vector, range)
            first = last + 1
        }
        // The class embedding enters before the blocks, and so goes with the first.
        var null = Array(base.nullRow)
        addWeighted(zip(parts, sources).map { WeightedValues($0.weights[0], $1.null) }, to: &null, null.indices)
        return (vector, null)
    }
}

extension CanonicalSum.Source {
    /// Absolute values.
    fileprivate func values(over base: ComposingBase) -> (vector: [Float], null: [Float]) {
        switch self {
        case .adapter(let resolved):
            let classes = resolved.adapter.classes
            return (resolved.adapter.vector.values, Array(classes.row(classes.nullClass)))
        case .merge(let rule, let arguments):
            let merged = arguments.map { ($0.weight, $0.sum.values(over: base)) }
            let vector = rule.merge(
                merged.map { MergeArgument(share: $0, values: $1.vector) }, keys: arguments.map(\.sum.digest), base: base.vector.values,
                kinds: base.layout.kindRanges)
            // Rows of class tables are never thinned out: the null row is the plain mean.
            let null = MergeRule.mean(merged.map { MergeArgument(share: $0, values: $1.null) }, base: Array(base.nullRow))
            return (vector, null)
        }
    }
}

/// The classes of several domains by (domain, class), never averaged; a single domain keeps its plain names.
private func united(_ resolvedAdapters: [ResolvedAdapter], null: [Float]) -> ClassTable {
    let names = Dictionary(grouping: resolvedAdapters, by: \.name)
    var classes: [String] = []
    var values: [Float] = []
    for resolved in resolvedAdapters.sorted(by: { ($0.name, $0.digest) < ($1.name, $1.digest) }) {
        let table = resolved.adapter.classes
        let domain = (names[resolved.name]?.count ?? 0) > 1 ? "\(resolved.name)@\(resolved.digest.short)" : resolved.name
        classes += resolvedAdapters.count == 1 ? table.names : table.names.map { "\(domain)/\($0)" }
        values += table.values.dropLast(table.width)
    }
    return ClassTable(names: classes, values: values + null)
}

extension ResolvedAdapter {
    func isNamed(_ reference: String) -> Bool {
        name == reference || "\(name)@\(digest)".hasPrefix(reference) && reference.contains("@")
            || (reference.utf8.count >= 4 && digest.description.hasPrefix(reference))
    }
}

extension TrainableSet {
    /// The smallest set that holds all of these.
    init(uniting sets: [TrainableSet]) {
        let order: [Method] = [.bitfit, .difffitA, .difffit, .full]
        let method = order.last { method in sets.contains { $0.method == method } } ?? .bitfit
        self.init(method, gammaDepth: sets.map(\.gammaDepth).max() ?? 0)
    }

    /// The same of sets of which at least one has pairs.
    init(unitingPairs sets: [TrainableSet]) {
        let hasScales = sets.contains { !$0.isLowRank || $0.method == .difffitLora }
        let method: Method = hasScales ? .difffitLora : sets.contains { $0.method == .loraBias } ? .loraBias : .lora
        self.init(method, gammaDepth: sets.map(\.gammaDepth).max() ?? 0)
    }
}

/// values = base + the sum of weight (source - base), over one range; `values` hold the base when it begins.
///
/// Summed in double precision in the order given. One source of weight 1 is copied to the last bit; without any the base stays.
func addWeighted(_ sources: [WeightedValues], to values: inout [Float], _ range: Range<Int>) {
    let moving = sources.filter { $0.weight != 0 }
    if moving.count == 1, moving[0].weight == 1 {
        values.replaceSubrange(range, with: moving[0].values[range])
    } else if !moving.isEmpty {
        addDifferences(moving, to: &values, range)
    }
}
