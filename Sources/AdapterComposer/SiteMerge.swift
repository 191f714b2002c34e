import AdapterFormat

/// Adapters of one domain that were trained apart become one, by the counts of their samples (FedSparsify's two merges, arXiv
/// 2204.12430). Nothing but adapters travels; averaging them is no guarantee of privacy.
package struct SiteMerge: Sendable {
    package enum Rule: String, Sendable, CaseIterable {
        /// The mean of the sites, weighted by samples.
        case average
        /// The same, where at least half of the sites moved a value; the other values stay the base's.
        case majority
    }

    package let rule: Rule
    /// In the order of their digests.
    /// One site's adapter.
    package struct Site: Sendable {
        package let resolved: ResolvedAdapter
        /// Images it was trained on, which it is weighted by.
        package let samples: Double

        package init(_ resolved: ResolvedAdapter, samples: Double) {
            self.resolved = resolved
            self.samples = samples
        }
    }

    private let sites: [Site]

    /// - Parameter sites: each with its samples, above 0.
    package init(_ rule: Rule, _ sites: [Site]) throws(ComposerError) {
        guard !sites.isEmpty else { throw .nothingToMerge }
        for site in sites where !(site.samples > 0 && site.samples.isFinite) { throw .badCount(name: site.resolved.name, count: site.samples) }
        self.rule = rule
        self.sites = sites.sorted { ($0.resolved.digest, $0.samples) < ($1.resolved.digest, $1.samples) }
    }

    /// One site alone is that site to the last bit. Class rows are averaged under one name only, over the sites that have the
    /// class; classes that only some sites saw are all there.
    package func adapter(over base: ComposingBase) throws(ComposerError) -> Adapter {
        for site in sites { try base.check(site.resolved) }
        if sites.count == 1 { return sites[0].resolved.adapter }
        let adapters = sites.map(\.resolved.adapter)
        if let site = sites.first(where: { !$0.resolved.adapter.manifest.isDomain }) { throw .distilledInMerge(name: site.resolved.name) }
        if let site = sites.first(where: { $0.resolved.adapter.vector.lowRank != nil }) { throw .mergeOfPairs(name: site.resolved.name) }
        if let other = sites.first(where: { $0.resolved.adapter.manifest.imageGrid != adapters[0].manifest.imageGrid }) {
            throw .mixedResolutions(first: sites[0].resolved.name, second: other.resolved.name)
        }
        let arguments = zip(sites, adapters).map { MergeArgument(share: $0.samples, values: $1.vector.values) }
        let vector =
            switch rule {
            case .average: MergeRule.mean(arguments, base: base.vector.values)
            case .majority:
                MergeRule.majority.merge(
                    arguments, keys: sites.map(\.resolved.digest), base: base.vector.values, kinds: base.layout.kindRanges)
            }
        guard vector.allSatisfy(\.isFinite) else { throw .notFinite(recipe: text) }
        let classes = classes(over: base)
        var manifest = AdapterManifest(
            name: nil, baseDigest: base.digest, layoutDigest: base.layoutDigest, trainableSet: TrainableSet(uniting: adapters.map(\.manifest.trainableSet)),
            classes: classes.names, prediction: base.prediction, path: base.path)
        manifest.resolution = adapters[0].manifest.resolution
        manifest.positionScale = adapters[0].manifest.positionScale
        manifest.parents = sites.map(\.resolved.digest)
        manifest.recipe = text
        return Adapter(manifest: manifest, vector: TunableVector(vector, layout: base.layout), classes: classes)
    }

    /// What was merged, for the manifest.
    private var text: String {
        "merge \(rule.rawValue): " + sites.map { "\(shortest($0.samples))*\($0.resolved.name)@\($0.resolved.digest)" }.joined(separator: " + ")
    }

    private func classes(over base: ComposingBase) -> ClassTable {
        var names: [String] = []
        for site in sites {
            for name in site.resolved.adapter.classes.names where !names.contains(name) { names.append(name) }
        }
        let hasNullRow = base.hasNullRow && sites.allSatisfy(\.resolved.adapter.classes.hasNullRow)
        let null = base.hasNullRow ? Array(base.nullRow) : [Float](repeating: 0, count: base.nullRow.count)
        func mean(_ row: (ClassTable) -> Int?) -> [Float] {
            let arguments = sites.compactMap { site in
                let table = site.resolved.adapter.classes
                return row(table).map { MergeArgument(share: site.samples, values: Array(table.row($0))) }
            }
            return arguments.count == 1 ? arguments[0].values : MergeRule.mean(arguments, base: null)
        }
        let rows = names.flatMap { name in mean { $0.names.firstIndex(of: name) } }
        return hasNullRow
            ? ClassTable(names: names, values: rows + mean { $0.nullClass }) : .withoutNullRow(names: names, values: rows, width: null.count)
    }
}
