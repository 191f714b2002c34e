import AdapterFormat

/// The recovery of a sparse base among the parts of a sum, and adapters of the dense base that come to it.
extension CanonicalSum {
    /// Refuses a sum that holds the recovery of its sparse base more or less than once in some block, or two recoveries.
    func checkRecovery(depth: Int) throws(ComposerError) {
        var found: (name: String, recovery: Digest)?
        var sums = [Double](repeating: 0, count: depth)
        for part in parts {
            switch part.source {
            case .merge(_, let arguments):
                if let recovered = arguments.flatMap(\.sum.resolvedAdapters).first(where: { $0.recovery != nil }) {
                    throw .recoveredInMerge(name: recovered.name)
                }
            case .adapter(let resolved):
                guard let recovery = resolved.recovery else { continue }
                if let found, found.recovery != recovery { throw .otherRecovery(first: found.name, second: resolved.name) }
                found = (resolved.name, recovery)
                for block in 0..<depth { sums[block] += part.weights[block] }
            }
        }
        guard let found, let wrong = sums.first(where: { abs($0 - 1) > 1e-6 }) else { return }
        throw .recoveryCount(recipe: label, recovery: found.recovery.short, sum: wrong)
    }
}

extension ResolvedAdapter {
    /// The recovery that it is, or that is in its values.
    var recovery: Digest? { adapter.manifest.distillation?.role == .recovery ? digest : adapter.manifest.recovery }

    /// An adapter of a dense base on the sparse one that was made of it: its differences from the dense base, added to those of the recovery.
    /// - Parameters:
    ///   - dense: the dense base.
    ///   - sparse: the base of the recovery.
    /// - Throws: `ComposerError`: `notRecoverable` of what is no domain, `otherBase` where the bases are not these.
    package func recovered(from dense: ComposingBase, through recovery: ResolvedAdapter, over sparse: ComposingBase) throws(ComposerError) -> Adapter {
        try dense.check(self)
        try sparse.check(recovery)
        guard let record = recovery.adapter.manifest.distillation, record.role == .recovery else {
            throw .notRecoverable(name: name, reason: "'\(recovery.name)' is no recovery; 'adapterctl distill recovery' makes one")
        }
        guard record.recovers == dense.digest else { throw .otherBase(name: name, base: dense.digest, wanted: record.recovers ?? sparse.digest) }
        guard adapter.manifest.isDomain else {
            throw .notRecoverable(
                name: name, reason: "it is a vector for \(adapter.manifest.role), which holds for what it was measured on: distil it anew there")
        }
        let part = { (resolved: ResolvedAdapter) in
            CanonicalSum.Part(source: .adapter(resolved), weights: [Double](repeating: 1, count: sparse.depth))
        }
        var own = adapter.manifest
        (own.baseDigest, own.golden) = (sparse.digest, nil)
        // Where the sparse base's own values have moved too, the differences stay.
        let moved =
            zip(dense.vector.values, sparse.vector.values).map { $1 - $0 } + [Float](repeating: 0, count: adapter.vector.values.count - dense.layout.count)
        let values = moved.contains { $0 != 0 } ? zip(adapter.vector.values, moved).map { $0 + $1 } : adapter.vector.values
        let there = ResolvedAdapter(
            name: name, digest: digest,
            adapter: Adapter(manifest: own, vector: TunableVector(values, layout: own.layout(over: sparse.layout)), classes: adapter.classes))
        return try CanonicalSum([part(there), part(recovery)]).adapter(over: sparse)
    }
}
