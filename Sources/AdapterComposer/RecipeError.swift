import AdapterFormat

/// A recipe that cannot be read, and where.
package struct RecipeError: Error, Sendable, Hashable, CustomStringConvertible {
    package let text: String
    /// Characters before the fault.
    package let position: Int
    package let reason: String

    package init(text: String, position: Int, reason: String) {
        self.text = text
        self.position = position
        self.reason = reason
    }

    /// One line.
    package var line: String { "the recipe cannot be read at character \(position + 1): \(reason)" }

    /// The line, and below it the recipe with a mark under the fault.
    package var description: String {
        let before = 40
        let start = max(0, position - before)
        let shown = text.dropFirst(start).prefix(2 * before)
        let dots = start > 0 ? "..." : ""
        return "\(line)\n  \(dots)\(shown)\n  \(String(repeating: " ", count: dots.count + position - start))^"
    }
}

/// What keeps adapters from being composed.
package enum ComposerError: Error, Sendable, Hashable, CustomStringConvertible {
    case otherBase(name: String, base: Digest, wanted: Digest)
    case denseBase(name: String, base: Digest, sparse: Digest)
    case otherLayout(name: String, values: Int, wanted: Int)
    case otherKind(name: String, kind: String)
    /// Vectors of a sampler's steps and what they cannot be beside.
    case stepsOnlyInPart(name: String)
    case otherSteps(first: String, second: String)
    case stepsAsOneVector(name: String)
    case distilledInMerge(name: String)
    case guidanceTwice(first: String, second: String)
    /// How often a sum holds the recovery of its sparse base, which is to be once.
    case recoveryCount(recipe: String, recovery: String, sum: Double)
    case otherRecovery(first: String, second: String)
    case recoveredInMerge(name: String)
    case notRecoverable(name: String, reason: String)
    case mergeOfPairs(name: String)
    case otherPairs
    case tooManyRanks(layer: String, rank: Int, limit: Int)
    case mixedResolutions(first: String, second: String)
    case noSuchBlock(block: Int, depth: Int)
    case scoreWeights(sum: Double)
    case notFinite(recipe: String)
    case notOneVector(recipe: String)
    case noLabels(name: String, among: [String])
    case unknownClass(text: String, among: [String])
    /// Of several classes, one that no vector takes, since each knows one that was named before it.
    case unusedClass(text: String)
    case ambiguousClass(text: String, matches: [String])
    case badClassWeight(text: String, part: String)
    case nothingToMerge
    case badCount(name: String, count: Double)
    case badSparsity(Double)
    case cancelled

    package var description: String {
        switch self {
        case .otherBase(let name, let base, let wanted): "'\(name)' belongs to the base \(base.short), not to \(wanted.short)"
        case .denseBase(let name, let base, let sparse): BaseFile.denseRefusal(of: name, base: base.short, sparse: sparse.short)
        case .otherLayout(let name, let values, let wanted): "'\(name)' has \(values, "value"); this base takes \(wanted)"
        case .otherKind(let name, let kind): "'\(name)' is an adapter of the kind '\(kind)'; only 'difffit' and 'lora' can be composed"
        case .stepsOnlyInPart(let name):
            "'\(name)' holds a vector for each step of its sampler, so it has to be in every stage of a schedule and in every prediction of a score"
        case .otherSteps(let first, let second): "'\(first)' and '\(second)' are for other steps or times: take one of them"
        case .stepsAsOneVector(let name): "'\(name)' holds a vector for each step of its sampler: it is no single adapter and can only be sampled"
        case .distilledInMerge(let name): "'\(name)' is distilled: it is added to a sum, as in one+\(name), and not merged"
        case .guidanceTwice(let first, let second):
            "'\(first)' and '\(second)' both have guidance in them, which together would double it: take one of them"
        case .recoveryCount(let recipe, let recovery, let sum):
            "'\(recipe.prefix(200))' holds the recovery \(recovery) of its sparse base \(shortest(sum)) times, and it is to be there once: add \(shortest(1 - sum))*\(recovery)"
        case .otherRecovery(let first, let second):
            "'\(first)' and '\(second)' were recovered by different vectors, which together would be too much: take one of them"
        case .recoveredInMerge(let name): "the recovery of a sparse base is in '\(name)', and a merge would keep a share of it: add with weights"
        case .notRecoverable(let name, let reason): "'\(name)' cannot be taken over to the sparse base: \(reason)"
        case .mergeOfPairs(let name): "'\(name)' holds low-rank pairs, whose factors have no signs or shares to merge by: add them with weights"
        case .otherPairs: "the two have low-rank pairs of different ranks, layers or scale, whose values do not stand side by side"
        case .tooManyRanks(let layer, let rank, let limit):
            "the pairs of '\(layer)' add up to rank \(rank), more than the layer's \(limit): compose fewer adapters, or of smaller rank"
        case .mixedResolutions(let first, let second): "'\(first)' and '\(second)' were trained at different resolutions"
        case .noSuchBlock(let block, let depth): "there is no block \(block): this base has the blocks 0 to \(depth - 1)"
        case .scoreWeights(let sum):
            "the weights in score(...) add up to \(shortest(sum)); predictions are averaged, so they must add up to 1"
        case .notFinite(let recipe): "'\(recipe.prefix(200))' makes values that are not finite numbers; take smaller weights"
        case .notOneVector(let recipe):
            "'\(recipe.prefix(200))' changes over the steps or adds predictions: it is no single adapter and can only be sampled"
        case .noLabels(let name, let among):
            "the class names cannot come from '\(name)', which the recipe does not hold: it holds \(among.joined(separator: ", "))"
        case .unusedClass(let text):
            "the class '\(text)' is used by no part of the recipe: each takes the first of the list that it knows"
        case .unknownClass(let text, let among):
            "there is no class '\(text)'; " + Self.suggestion(nearestNames(to: text, among: among), among)
        case .ambiguousClass(let text, let matches): "the class '\(text)' could be \(matches.joined(separator: " or "))"
        case .badClassWeight(let text, let part): "'\(part)' in the class '\(text)' is no number; a blend reads 0.5*one+0.5*other"
        case .nothingToMerge: "a merge needs at least one adapter"
        case .badCount(let name, let count): "'\(name)' was given \(shortest(count)) samples; a count is above 0"
        case .cancelled: "nobody waits for the recipe any more"
        case .badSparsity(let share): "a sparsity is from 0 to below 1, not \(shortest(share))"
        }
    }

    private static func suggestion(_ near: [String], _ all: [String]) -> String {
        near.isEmpty
            ? "there are \(all.prefix(12).joined(separator: ", "))\(all.count > 12 ? " and \(all.count - 12) others" : "")"
            : "did you mean \(near.joined(separator: ", "))?"
    }
}
