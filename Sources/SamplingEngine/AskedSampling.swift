import AdapterComposer
import AdapterFormat
import Diffusion

/// What a request says of its sampling; nil leaves it to the recipe.
package struct AskedSampling: Sendable, Hashable {
    package var sampler: Sampler?
    package var steps: Int?
    package var kind: GuidanceKind?
    package var scale: Float?
    package var interval: ClosedRange<Double>?

    package init(
        sampler: Sampler? = nil, steps: Int? = nil, kind: GuidanceKind? = nil, scale: Float? = nil, interval: ClosedRange<Double>? = nil
    ) {
        self.sampler = sampler
        self.steps = steps
        self.kind = kind
        self.scale = scale
        self.interval = interval
    }

    package var saysGuidance: Bool { kind != nil || scale != nil || interval != nil }

    /// Where a recipe demands nothing: the usual for what was not said.
    package func usual(on path: DiffusionPath) -> BoundSampling {
        BoundSampling(sampler: sampler ?? UsualSampling.sampler(path), steps: steps ?? UsualSampling.steps, guidance: guidance)
    }

    /// Where a recipe demands nothing.
    var guidance: ImageGuidance {
        ImageGuidance(kind ?? .cfg, scale: scale ?? UsualSampling.guidanceScale, interval: interval ?? 0...1)
    }
}

/// A recipe as it is run, and how.
package struct SettledSampling: Sendable {
    package let recipe: BoundRecipe
    package let sampling: BoundSampling
}

extension AdapterCatalogue {
    /// A recipe and what was asked for, with what the recipe's vectors demand: guidance that is in their values, and a sampler's steps.
    /// - Parameters:
    ///   - strength, labelsFrom: as `bind` takes them.
    /// - Throws: what `bind` throws; `SamplingDemandError` where the two contradict each other; `SamplingEngineError.noSolverProfile`.
    package func settle(_ recipe: Recipe, _ asked: AskedSampling, strength: Double = 1, labelsFrom: String? = nil) throws -> SettledSampling {
        var bound = try bind(recipe, strength: strength, labelsFrom: labelsFrom)
        // At strength 0 it is the base, which nothing is added to.
        if asked.kind == .distilled, bound.folded == nil, strength != 0 {
            let (reference, weight) = try dialled(asked, for: bound)
            // What draws a domain to the base is to leave the guidance as it was asked for.
            bound = try bind(recipe.adding(reference, weight: weight / strength), strength: strength, labelsFrom: labelsFrom)
        }
        let guidance = try guidance(of: bound, asked)
        if let profile = bound.solver {
            guard asked.sampler ?? .fitted == .fitted, asked.steps ?? profile.steps == profile.steps else {
                throw SamplingDemandError.otherSteps(recipe: bound.label, steps: profile.steps)
            }
            return SettledSampling(
                recipe: bound, sampling: BoundSampling(sampler: .fitted, steps: profile.steps, guidance: guidance, solver: FittedSolver(profile)))
        }
        guard asked.sampler == .fitted else {
            var sampling = try asked.usual(on: DiffusionConvention(base).path)
            sampling.guidance = guidance
            return SettledSampling(recipe: bound, sampling: sampling)
        }
        let wanted = asked.saysGuidance || bound.folded != nil ? guidance : nil
        return SettledSampling(recipe: bound, sampling: try solver(for: bound, steps: asked.steps, guidance: wanted))
    }

    private func guidance(of recipe: BoundRecipe, _ asked: AskedSampling) throws -> ImageGuidance {
        guard let folded = recipe.folded else { return asked.guidance }
        let own = ImageGuidance(.distilled, scale: Float(folded.scale), interval: folded.interval[0]...folded.interval[1])
        switch asked.kind {
        case .cfg, .domain: throw SamplingDemandError.guidanceTwice(recipe: recipe.label, folded: own)
        case nil where asked.scale.map { $0 != 1 } ?? false: throw SamplingDemandError.guidanceTwice(recipe: recipe.label, folded: own)
        case .distilled:
            if let scale = asked.scale, abs(scale - own.scale) > 1e-3 { throw SamplingDemandError.otherScale(recipe: recipe.label, folded: own, asked: scale) }
            fallthrough
        case .none?, nil:
            if let interval = asked.interval, asked.kind == .distilled, interval != own.interval {
                throw SamplingDemandError.otherInterval(vector: recipe.label, interval: own.interval)
            }
        }
        return own
    }

    /// The guidance vector that `guidance: "distilled"` adds to a recipe, and at which weight.
    private func dialled(_ asked: AskedSampling, for recipe: BoundRecipe) throws -> (reference: String, weight: Double) {
        let domains = Set(recipe.shares.map(\.digest))
        /// Of its own domains alone, of several others, or of none that helps.
        func rank(_ vector: DistilledVector) -> Int? {
            let learned = Set(vector.record.domains.map(\.digest))
            if learned.count <= domains.count, domains.isSubset(of: learned) { return 0 }
            return learned.count > 1 || !domains.isDisjoint(with: learned) ? 1 : nil
        }
        let ranked = try vectors(of: .guidance).compactMap { vector in rank(vector).map { (rank: $0, vector: vector) } }
        // Then the one that learned from more.
        let best = ranked.min { a, b in (a.rank, -a.vector.record.domains.count, a.vector.name) < (b.rank, -b.vector.record.domains.count, b.vector.name) }
        guard let vector = best?.vector else { throw SamplingDemandError.noGuidanceVector(recipe: recipe.label) }
        let record = vector.record, scale = Double(asked.scale ?? Float(record.guidanceScale))
        let scales = (record.dial ?? []).map(\.scale) + [1, record.guidanceScale]
        let range = (scales.min() ?? 1)...(scales.max() ?? record.guidanceScale)
        guard range.contains(scale) else { throw SamplingDemandError.offTheDial(vector: vector.name, scale: scale, range: range) }
        if let interval = asked.interval, [interval.lowerBound, interval.upperBound] != record.guidanceInterval {
            throw SamplingDemandError.otherInterval(vector: vector.name, interval: record.guidanceInterval[0]...record.guidanceInterval[1])
        }
        return ("\(vector.name)@\(vector.digest)", (scale - 1) / (record.guidanceScale - 1))
    }
}

/// What a recipe's vectors demand of the sampling, and a request says otherwise.
package enum SamplingDemandError: Error, Sendable, Hashable, CustomStringConvertible {
    case guidanceTwice(recipe: String, folded: ImageGuidance)
    case otherScale(recipe: String, folded: ImageGuidance, asked: Float)
    case otherInterval(vector: String, interval: ClosedRange<Double>)
    case offTheDial(vector: String, scale: Double, range: ClosedRange<Double>)
    case noGuidanceVector(recipe: String)
    case otherSteps(recipe: String, steps: Int)

    package var description: String {
        switch self {
        case .guidanceTwice(let recipe, let folded):
            "'\(recipe)' has guidance \(shortest(Double(folded.scale))) in its values, which a second guidance would double: leave guidance out, ask for distilled, or take the vector out"
        case .otherScale(let recipe, let folded, let asked):
            "'\(recipe)' has guidance \(shortest(Double(folded.scale))) in its values, not \(shortest(Double(asked))): leave the scale out, or give the vector another weight"
        case .otherInterval(let vector, let interval):
            "the guidance of '\(vector)' acts between the noise levels \(shortest(interval.lowerBound)) and \(shortest(interval.upperBound)): leave the interval out, or give that"
        case .offTheDial(let vector, let scale, let range):
            "'\(vector)' was measured for guidance scales from \(shortest(range.lowerBound)) to \(shortest(range.upperBound)), not \(shortest(scale))"
        case .noGuidanceVector(let recipe):
            "there is no guidance vector for '\(recipe)' in the store: adapterctl distill guidance makes one"
        case .otherSteps(let recipe, let steps):
            "'\(recipe)' holds a vector for each of \(steps, "step") at times of their own: leave sampler and steps out, or give fitted and \(steps)"
        }
    }
}
