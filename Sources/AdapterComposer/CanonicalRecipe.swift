import AdapterFormat
import Foundation

/// A recipe with its references settled: two that mean the same have the same text and so the same digest.
///
/// Sources stand in the order of their digests, each once, with full digests as pins; brackets are multiplied out, weights of one
/// source added up. The text reads as a recipe again.
package struct CanonicalRecipe: Sendable, Hashable {
    package var stages: [Stage]

    package struct Stage: Sendable, Hashable {
        package let start: Double
        /// One for a vector; several for predictions that are added, by digest.
        package let parts: [WeightedSum]

        package static func == (a: Stage, b: Stage) -> Bool { a.start == b.start && a.text == b.text }
        package func hash(into hasher: inout Hasher) { hasher.combine(text) }

        var text: String {
            if parts.count == 1, parts[0].weight == 1 { return parts[0].sum.text }
            return "score(" + joined(parts.map { ($0.weight, $0.sum.asFactor) }) + ")"
        }
    }

    /// A vector and its weight among added predictions.
    package struct WeightedSum: Sendable {
        package var weight: Double
        package let sum: CanonicalSum
    }

    /// The text without digests, for people.
    package var label: String { text.replacing(/@[0-9a-f]{64}/, with: "") }
    package var text: String { stages.map(\.text).enumerated().map { $0 == 0 ? $1 : "\(shortest(stages[$0].start))>\($1)" }.joined(separator: ">") }
    package var digest: Digest { Digest(of: Data(text.utf8)) }

    /// The one vector that it is, where it is one.
    package func oneVector() throws(ComposerError) -> CanonicalSum {
        guard stages.count == 1, stages[0].parts.count == 1 else { throw .notOneVector(recipe: label) }
        return stages[0].parts[0].sum
    }

    /// - Parameter resolve: what a reference stands for.
    package init(_ recipe: Recipe, over base: ComposingBase, resolve: (String) throws -> ResolvedAdapter) throws {
        stages = try recipe.stages.map { stage in
            switch stage.mix {
            case .values(let terms):
                return Stage(start: stage.start, parts: [WeightedSum(weight: 1, sum: try CanonicalSum(terms, over: base, resolve: resolve))])
            case .score(let terms):
                var parts: [Digest: WeightedSum] = [:]
                for term in terms.sorted(by: { $0.weight < $1.weight }) {
                    var alone = term
                    alone.weight = 1
                    let sum = try CanonicalSum([alone], over: base, resolve: resolve)
                    parts[sum.digest, default: WeightedSum(weight: 0, sum: sum)].weight += term.weight
                }
                let total = terms.map(\.weight).sorted().reduce(0, +)
                guard abs(total - 1) < 1e-6 else { throw ComposerError.scoreWeights(sum: total) }
                let kept = parts.sorted { $0.key < $1.key }.map(\.value).filter { $0.weight != 0 }
                return Stage(start: stage.start, parts: kept.count == 1 ? [WeightedSum(weight: 1, sum: kept[0].sum)] : kept)
            }
        }
    }
}

/// Sources, each with a weight per block, in the order of their digests. No source: the base.
package struct CanonicalSum: Sendable, Hashable {
    package struct Part: Sendable, Hashable {
        package let source: Source
        /// One per block.
        package let weights: [Double]
    }

    package indirect enum Source: Sendable, Hashable {
        case adapter(ResolvedAdapter)
        case merge(MergeRule, [Argument])

        package struct Argument: Sendable, Hashable {
            let weight: Double
            let sum: CanonicalSum
        }
    }

    package let parts: [Part]
    package let text: String
    package var digest: Digest { Digest(of: Data(text.utf8)) }

    init(_ terms: Recipe.Sum, over base: ComposingBase, resolve: (String) throws -> ResolvedAdapter) throws {
        var weights: [Digest: (source: Source, weights: [[Double]])] = [:]
        let depth = base.depth
        func collect(_ terms: Recipe.Sum, factor: Double, within blocks: ClosedRange<Int>) throws {
            for term in terms {
                let own = term.blocks ?? 0...(depth - 1)
                guard own.upperBound < depth else { throw ComposerError.noSuchBlock(block: own.upperBound, depth: depth) }
                // Blocks outside the enclosing bracket's are left out of it.
                let common = blocks.overlaps(own) ? own.clamped(to: blocks) : nil
                let weight = factor * term.weight
                switch term.factor {
                case .base: continue
                case .sum(let inner):
                    if let common { try collect(inner, factor: weight, within: common) }
                    continue
                case .adapter, .merge: break
                }
                let source = try Source(term.factor, over: base, resolve: resolve)
                let key = source.digest
                var entry = weights[key] ?? (source, [[Double]](repeating: [], count: depth))
                // One adapter under two names goes by the lesser, whatever the order.
                if case .adapter(let new) = source, case .adapter(let known) = entry.source, new.name < known.name { entry.source = source }
                for block in common ?? 0...0 where common != nil { entry.weights[block].append(weight) }
                weights[key] = entry
            }
        }
        try collect(terms, factor: 1, within: 0...(depth - 1))
        self.init(weights.values.map { Part(source: $0.source, weights: $0.weights.map { $0.sorted().reduce(0, +) }) })
    }

    /// Parts of which each has another source.
    init(_ parts: [Part]) {
        self.parts = parts.sorted { $0.source.digest < $1.source.digest }
        text = parts.isEmpty ? "base" : joined(self.parts.flatMap(\.terms))
    }

    /// As one factor of a term: in brackets where it has several terms.
    var asFactor: String {
        let terms = parts.flatMap(\.terms)
        return terms.count == 1 && terms[0].weight == 1 ? terms[0].factor : terms.isEmpty ? "base" : "(\(text))"
    }

    /// The text without digests, for people.
    package var label: String { text.replacing(/@[0-9a-f]{64}/, with: "") }

    /// An adapter of it, and its weight in the sum.
    package struct Share: Sendable {
        package let resolved: ResolvedAdapter
        package let weight: Double
        /// The blocks that it has that weight in; nil where in all.
        package let blocks: ClosedRange<Int>?
    }

    /// Its adapters with their weights, those of a merge with their shares in the mean.
    package var shares: [Share] {
        parts.flatMap { part in
            part.runs.flatMap { run -> [Share] in
                switch part.source {
                case .adapter(let resolved): return [Share(resolved: resolved, weight: run.weight, blocks: run.blocks)]
                case .merge(_, let arguments):
                    let total = arguments.reduce(0) { $0 + $1.weight }
                    return arguments.flatMap { argument in
                        argument.sum.shares.map {
                            Share(resolved: $0.resolved, weight: $0.weight * run.weight * argument.weight / total, blocks: $0.blocks ?? run.blocks)
                        }
                    }
                }
            }
        }
    }

    /// Every adapter in it, each once, in the order of their digests.
    package var resolvedAdapters: [ResolvedAdapter] {
        var found: [Digest: ResolvedAdapter] = [:]
        func collect(_ sum: CanonicalSum) {
            for part in sum.parts {
                switch part.source {
                case .adapter(let resolved): found[resolved.digest] = resolved
                case .merge(_, let arguments): for argument in arguments { collect(argument.sum) }
                }
            }
        }
        collect(self)
        return found.sorted { $0.key < $1.key }.map(\.value)
    }

    /// The one adapter that it is in full, where it is nothing else.
    package var only: ResolvedAdapter? {
        guard parts.count == 1, case .adapter(let resolved) = parts[0].source, parts[0].weights.allSatisfy({ $0 == 1 }) else { return nil }
        return resolved
    }
}

extension CanonicalSum.Source {
    fileprivate init(_ factor: Recipe.Factor, over base: ComposingBase, resolve: (String) throws -> ResolvedAdapter) throws {
        switch factor {
        case .adapter(let reference):
            let resolved = try resolve(reference)
            try base.check(resolved)
            self = .adapter(resolved)
        case .merge(let rule, let terms):
            let arguments = try terms.map { term in
                var alone = term
                alone.weight = 1
                return Argument(weight: term.weight, sum: try CanonicalSum([alone], over: base, resolve: resolve))
            }
            self = .merge(rule, arguments.sorted { ($0.sum.digest, $0.weight) < ($1.sum.digest, $1.weight) })
        case .base, .sum: preconditionFailure("neither base nor a bracket is a source")
        }
    }

    var text: String {
        switch self {
        case .adapter(let resolved):
            AdapterName.isValid(resolved.name) ? "\(resolved.name)@\(resolved.digest)" : "\(resolved.digest)"
        case .merge(let rule, let arguments):
            "\(rule.name)(" + arguments.map { joined([($0.weight, $0.sum.asFactor)]) }.joined(separator: ",") + rule.ending + ")"
        }
    }

    var digest: Digest {
        if case .adapter(let resolved) = self { resolved.digest } else { Digest(of: Data(text.utf8)) }
    }
}

extension CanonicalSum.Part {
    /// Runs of blocks with one weight, nil for all blocks. A source without weight anywhere stays for its classes.
    fileprivate var runs: [(weight: Double, blocks: ClosedRange<Int>?)] {
        guard let first = weights.first, weights.contains(where: { $0 != first }) else { return [(weights.first ?? 0, nil)] }
        var runs: [(weight: Double, blocks: ClosedRange<Int>?)] = []
        for (block, weight) in weights.enumerated() {
            if let last = runs.last, last.weight == weight, let blocks = last.blocks {
                runs[runs.count - 1].blocks = blocks.lowerBound...block
            } else {
                runs.append((weight, block...block))
            }
        }
        return runs.filter { $0.weight != 0 }
    }

    fileprivate var terms: [(weight: Double, factor: String)] {
        runs.map { weight, blocks in
            guard let blocks else { return (weight, source.text) }
            return (weight, "\(source.text)@" + (blocks.count == 1 ? "\(blocks.lowerBound)" : "\(blocks.lowerBound)-\(blocks.upperBound)"))
        }
    }
}

/// Terms with their weights as a recipe has them.
private func joined(_ terms: [(weight: Double, factor: String)]) -> String {
    terms.map { weight, factor in
        weight == 1 ? factor : weight == -1 ? "-\(factor)" : "\(shortest(weight))*\(factor)"
    }.joined(separator: "+")
}
