import AdapterFormat

extension CanonicalRecipe {
    /// The steps and times that a vector for each step demands; nil where there is none.
    package func solver() throws(ComposerError) -> SolverProfile? {
        let holders = stages.flatMap { $0.parts.flatMap { $0.sum.stepHolders } }
        guard let first = holders.first, let solver = first.adapter.manifest.distillation?.solver else { return nil }
        if let other = holders.first(where: { $0.adapter.manifest.distillation?.solver?.steps(likeThoseOf: solver) != true }) {
            throw .otherSteps(first: first.name, second: other.name)
        }
        for part in stages.flatMap(\.parts) where part.sum.stepHolders.isEmpty { throw .stepsOnlyInPart(name: first.name) }
        return solver
    }

    /// A stage for each step, with the vector of that step in the place of those of all; itself where it has none such.
    package func laidOverSteps(over base: ComposingBase) throws(ComposerError) -> CanonicalRecipe {
        guard let steps = try solver()?.steps else { return self }
        var result = self
        result.stages = (0..<steps).map { step in
            let start = Double(step) / Double(steps)
            let stage = stages.last { $0.start <= start + 1e-9 } ?? stages[0]
            return Stage(start: start, parts: stage.parts.map { WeightedSum(weight: $0.weight, sum: $0.sum.step(step, over: base.layout)) })
        }
        return result
    }

    /// The guidance that is in its values, the same in all of its stages; nil where there is none.
    package func foldedGuidance() throws(ComposerError) -> FoldedGuidance? {
        var found: (guidance: FoldedGuidance?, name: String)?
        for part in stages.flatMap(\.parts) {
            let own = try part.sum.foldedGuidance()
            if let found, found.guidance != own { throw .guidanceTwice(first: found.name, second: part.sum.label) }
            found = (own, part.sum.label)
        }
        return found?.guidance
    }
}

extension CanonicalSum {
    /// Its adapters that hold a vector for each step.
    fileprivate var stepHolders: [ResolvedAdapter] {
        parts.compactMap { part in
            guard case .adapter(let resolved) = part.source, resolved.adapter.manifest.distillation?.steps != nil else { return nil }
            return resolved
        }
    }

    /// What its vectors have of guidance in them. Weights of vectors for guidance of one kind add up.
    func foldedGuidance() throws(ComposerError) -> FoldedGuidance? {
        var found: (guidance: FoldedGuidance, name: String, isDial: Bool)?
        for part in parts {
            guard case .adapter(let resolved) = part.source else {
                if case .merge(_, let arguments) = part.source,
                    let distilled = arguments.flatMap(\.sum.resolvedAdapters).first(where: {
                        !$0.adapter.manifest.isDomain || $0.adapter.manifest.foldedGuidance != nil
                    })
                {
                    throw .distilledInMerge(name: distilled.name)
                }
                continue
            }
            let manifest = resolved.adapter.manifest
            // Of several weights in blocks the first says what the whole is meant for.
            let weight = part.weights.first ?? 0, isDial = manifest.distillation?.role == .guidance
            guard let own = isDial ? manifest.distillation?.folded(weight: weight) : manifest.distillation?.folded(weight: 1) ?? manifest.foldedGuidance
            else { continue }
            guard let before = found else {
                found = (own, resolved.name, isDial)
                continue
            }
            guard before.guidance.kind == own.kind, before.guidance.interval == own.interval,
                before.isDial && isDial || before.guidance == own && !before.isDial && !isDial
            else { throw .guidanceTwice(first: before.name, second: resolved.name) }
            if isDial { found?.guidance.scale += own.scale - 1 }
        }
        return found?.guidance
    }

    /// The same with one step's vectors in place of those of all steps.
    fileprivate func step(_ step: Int, over base: TunableLayout) -> CanonicalSum {
        guard !stepHolders.isEmpty else { return self }
        return CanonicalSum(
            parts.map { part in
                guard case .adapter(let resolved) = part.source, resolved.adapter.manifest.distillation?.steps != nil else { return part }
                let own = resolved.adapter.step(step, over: base)
                return Part(source: .adapter(ResolvedAdapter(name: resolved.name, digest: own.digest, adapter: own)), weights: part.weights)
            })
    }
}

extension SolverProfile {
    /// Whether both are the same steps, whatever was measured of them.
    fileprivate func steps(likeThoseOf other: SolverProfile) -> Bool {
        times == other.times && x == other.x && m == other.m && m1 == other.m1 && startScale == other.startScale && startShift == other.startShift
    }
}
