/// What to make of the adapters in a store, as a user writes it.
///
///     recipe    = stage { ">" fraction ">" stage }           the second from that fraction of the steps on
///     stage     = sum | "score(" sum ")"                     score: the predictions are added, not the values
///     sum       = ["-"] term { ("+" | "-" | "+-") term }
///     term      = [number "*"] factor ["@" block ["-" block]]
///     factor    = "base" | reference | "(" sum ")" | merge
///     merge     = "ties(" sum { "," sum } ";" kept ")"
///               | "dare(" sum { "," sum } ";" kept ["," "seed=" whole number] ")"
///               | "majority(" sum { "," sum } ")"
///     reference = a name or a digest's digits, ["@" pin]
///
/// A name reaches as far as it can and may hold `-`: a minus sign after a name needs a space before it. After `@`, up to three
/// decimal digits are a block, `0-3` is a range of blocks, and four to 64 hexadecimal digits are a pin. A weight inside a
/// merge is that argument's share in the mean.
package struct Recipe: Sendable, Hashable {
    /// In order; the first begins at 0.
    package var stages: [Stage]

    package struct Stage: Sendable, Hashable {
        /// Fraction of the steps after which it begins.
        package var start: Double
        package var mix: Mix
    }

    package enum Mix: Sendable, Hashable {
        /// One vector, the weighted sum of the differences against the base.
        case values(Sum)
        /// Predictions of several vectors, added at each step.
        case score([Term])
    }

    package typealias Sum = [Term]

    package struct Term: Sendable, Hashable {
        package var weight: Double
        package var factor: Factor
        /// Only in these blocks; what comes before the first block belongs to it, what comes after the last to the last.
        package var blocks: ClosedRange<Int>?
        /// Characters of the text before it.
        package var position: Int
    }

    package indirect enum Factor: Sendable, Hashable {
        case base
        case adapter(String)
        case sum(Sum)
        case merge(MergeRule, [Term])
    }

    /// Every reference in it, in the order written.
    package var references: [String] {
        stages.flatMap { stage in
            switch stage.mix {
            case .values(let terms), .score(let terms): terms.flatMap(\.references)
            }
        }
    }

    /// The reference that it is, where it is nothing but one.
    package var only: String? {
        guard stages.count == 1, case .values(let terms) = stages[0].mix, terms.count == 1, terms[0].weight == 1, terms[0].blocks == nil
        else { return nil }
        switch terms[0].factor {
        case .base: return "base"
        case .adapter(let reference): return reference
        case .sum, .merge: return nil
        }
    }
}

extension Recipe {
    /// The terms, where it is one vector.
    package var sum: Sum? {
        guard stages.count == 1, case .values(let terms) = stages[0].mix else { return nil }
        return terms
    }

    /// A point on the line from one vector (share 0) to another (1). Both keep their classes at either end.
    /// - Precondition: both are one vector.
    package static func between(_ from: Recipe, _ to: Recipe, _ share: Double) -> Recipe {
        guard let one = from.sum, let other = to.sum else { preconditionFailure("a morph between recipes that are no vectors") }
        let terms = [
            Term(weight: 1 - share, factor: .sum(one), blocks: nil, position: 0), Term(weight: share, factor: .sum(other), blocks: nil, position: 0),
        ]
        return Recipe(stages: [Stage(start: 0, mix: .values(terms))])
    }

    /// The same with a share of one more adapter in every vector.
    package func adding(_ reference: String, weight: Double) -> Recipe {
        let added = Term(weight: weight, factor: .adapter(reference), blocks: nil, position: 0)
        var result = self
        for index in stages.indices {
            switch stages[index].mix {
            case .values(let terms): result.stages[index].mix = .values(terms + [added])
            case .score(let terms):
                result.stages[index].mix = .score(
                    terms.map { term in
                        var alone = term
                        alone.weight = 1
                        return Term(weight: term.weight, factor: .sum([alone, added]), blocks: nil, position: term.position)
                    })
            }
        }
        return result
    }

    /// Every vector so much of its way from the base: 0 is the base, 1 the recipe itself.
    package func scaled(by strength: Double) -> Recipe {
        guard strength != 1 else { return self }
        func scaled(_ terms: Sum) -> Term { Term(weight: strength, factor: .sum(terms), blocks: nil, position: 0) }
        var result = self
        for index in stages.indices {
            switch stages[index].mix {
            case .values(let terms): result.stages[index].mix = .values([scaled(terms)])
            case .score(let terms):
                result.stages[index].mix = .score(
                    terms.map { term in
                        var one = term
                        one.weight = 1
                        return Term(weight: term.weight, factor: .sum([scaled([one])]), blocks: nil, position: term.position)
                    })
            }
        }
        return result
    }
}

// MARK: What it costs

extension Recipe {
    /// Terms in all, and of them the arguments of merges.
    package var termCounts: (all: Int, merged: Int) {
        terms.reduce((0, 0)) { ($0.0 + $1.termCounts.all, $0.1 + $1.termCounts.merged) }
    }

    /// What composing it takes, found before anything is done: one for each value of each term, times its rule's factor.
    /// - Parameter values: of one adapter.
    package func composingWork(values: Int) -> Int { values * terms.reduce(0) { $0 + $1.work } }

    private var terms: [Term] {
        stages.flatMap { stage in
            switch stage.mix {
            case .values(let terms), .score(let terms): terms
            }
        }
    }
}

extension Recipe.Term {
    fileprivate var termCounts: (all: Int, merged: Int) {
        switch factor {
        case .base, .adapter: (1, 0)
        case .sum(let terms): terms.reduce((1, 0)) { ($0.0 + $1.termCounts.all, $0.1 + $1.termCounts.merged) }
        case .merge(_, let terms): terms.reduce((1, terms.count)) { ($0.0 + $1.termCounts.all, $0.1 + $1.termCounts.merged) }
        }
    }

    /// In values.
    fileprivate var work: Int {
        switch factor {
        case .base, .adapter: 1
        case .sum(let terms): terms.reduce(1) { $0 + $1.work }
        case .merge(let rule, let terms): terms.reduce(1) { $0 + rule.factor + $1.work }
        }
    }

    fileprivate var references: [String] {
        switch factor {
        case .base: []
        case .adapter(let reference): [reference]
        case .sum(let terms), .merge(_, let terms): terms.flatMap(\.references)
        }
    }
}

/// How several vectors become one where a plain sum would let them disturb each other. Each is a kind of mean.
package enum MergeRule: Sendable, Hashable {
    /// Of each, keep the largest differences; per value elect a sign; average those that have it (arXiv 2306.01708).
    case ties(kept: Double)
    /// Of each, keep differences at random and scale them up (arXiv 2311.03099).
    case dare(kept: Double, seed: UInt64)
    /// Average the values that at least half of them moved; the others stay the base's (arXiv 2204.12430).
    case majority

    var name: String {
        switch self {
        case .ties: "ties"
        case .dare: "dare"
        case .majority: "majority"
        }
    }

    /// Work of one argument's value, a sum's being 1: drawing a number, or choosing the largest and electing a sign.
    fileprivate var factor: Int {
        switch self {
        case .majority: 2
        case .dare: 4
        case .ties: 8
        }
    }

    /// What follows the arguments.
    var ending: String {
        switch self {
        case .ties(let kept): ";\(shortest(kept))"
        case .dare(let kept, let seed): ";\(shortest(kept)),seed=\(seed)"
        case .majority: ""
        }
    }
}

/// 0.3 rather than 0.30000000, 2 rather than 2.0; reads back to the same number.
package func shortest(_ number: Double) -> String {
    let text = "\(number)"
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
}
