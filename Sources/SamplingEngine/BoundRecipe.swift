import AdapterComposer
import AdapterFormat
import Diffusion
import Foundation

/// A recipe with every adapter of it composed and held, as a request takes it from admission on (law 3).
package struct BoundRecipe: Sendable {
    package struct Part: Sendable {
        package let weight: Double
        package let adapter: BoundAdapter
    }

    package struct Stage: Sendable {
        package let start: Double
        package let parts: [Part]
    }

    /// One of the adapters that it is made of, as a reply names it.
    package struct Share: Sendable, Hashable {
        package let name: String
        package let digest: Digest
        package let weight: Double
        /// The blocks it has that weight in, where not in all.
        package let blocks: ClosedRange<Int>?
        /// Fraction of the steps from which on.
        package let start: Double
    }

    /// The canonical text: a recipe of full digests, without the strength that it runs at.
    package let text: String
    /// As a person reads it, without digests.
    package let label: String
    /// The same at the strength that it runs at.
    let runLabel: String
    package let stages: [Stage]
    package let shares: [Share]
    /// What ran: of one vector its content's digest, else that of the canonical text.
    package let digest: Digest
    /// The steps that its vectors are for, where it holds one for each; a stage each.
    package let solver: SolverProfile?
    /// Guidance that is in its values.
    package let folded: FoldedGuidance?
    /// Reading adapters from the store, and composing; zero where all was resident.
    package let load, compose: Duration
    let nullRow: ArraySlice<Float>
    /// The grid of its images, where it is not the base's own; `SamplingEngine` refuses a recipe of several.
    package var grid: ImageGrid? { stages[0].parts[0].adapter.grid }

    /// One adapter as it is.
    init(_ binding: AdapterCatalogue.Binding, folded: FoldedGuidance?, null: ArraySlice<Float>) {
        let adapter = binding.adapter
        text = adapter.name == "base" ? "base" : AdapterName.isValid(adapter.name) ? "\(adapter.name)@\(adapter.digest)" : "\(adapter.digest)"
        (label, runLabel) = (adapter.name, adapter.name)
        stages = [Stage(start: 0, parts: [Part(weight: 1, adapter: adapter)])]
        shares = [Share(name: adapter.name, digest: adapter.digest, weight: 1, blocks: nil, start: 0)]
        digest = adapter.digest
        solver = nil
        self.folded = folded
        load = binding.load
        compose = .zero
        nullRow = null
    }

    /// - Parameters:
    ///   - recipe: as it was asked for.
    ///   - run: the same at its strength.
    init(
        _ recipe: CanonicalRecipe, run: CanonicalRecipe, _ stages: [Stage], solver: SolverProfile?, folded: FoldedGuidance?, labelsFrom: String?,
        load: Duration, compose: Duration, null: ArraySlice<Float>
    ) {
        self.solver = solver
        self.folded = folded
        text = recipe.text
        (label, runLabel) = (recipe.label, run.label)
        self.stages = stages
        shares = recipe.stages.flatMap { stage in
            stage.parts.flatMap { part in
                part.sum.shares.map {
                    Share(name: $0.resolved.name, digest: $0.resolved.digest, weight: part.weight * $0.weight, blocks: $0.blocks, start: stage.start)
                }
            }
        }
        let isOne = stages.count == 1 && stages[0].parts.count == 1
        digest = isOne ? stages[0].parts[0].adapter.digest : Digest(of: Data("\(run.text) \(labelsFrom ?? "")".utf8))
        self.load = load
        self.compose = compose
        nullRow = null
    }

    /// The only adapter, where it is one vector over all steps.
    package var adapter: BoundAdapter? { stages.count == 1 && stages[0].parts.count == 1 ? stages[0].parts[0].adapter : nil }

    /// Names of all classes that can be asked for, each once.
    package var classNames: [String] {
        var seen: Set<String> = []
        return stages.flatMap { $0.parts.flatMap(\.adapter.classes.names) }.filter { seen.insert($0).inserted }
    }

    /// The recipe with a class, ready for an image: `rose`, `flowers/rose`, `class:3`, a blend `0.5*rose+0.5*lily`, or several with
    /// commas, of which each vector takes the one that its own table has, and otherwise its null class.
    /// - Parameter strength: draws the class towards the null class, as `Recipe.scaled` does the values.
    /// - Returns: the stages of an image, and the class as it was understood.
    package func choosing(class text: String, strength: Double = 1) throws(ComposerError) -> (stages: [ImageOrder.Stage], className: String) {
        // Every table knows the null class, so it is what is left where no other fits.
        let listed = text.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
        let several = listed.filter { $0 != "null" } + listed.filter { $0 == "null" }
        var used: Set<String> = []
        var names: [String] = []
        var chosen: [ImageOrder.Stage] = []
        for stage in stages {
            var parts: [ImageOrder.Part] = []
            for part in stage.parts {
                let classes = part.adapter.classes
                var choice = try find([text] + several, in: part.adapter, used: &used)
                if let choice { names.append(choice.text(in: classes)) }
                // Without any, the vector of a recipe of several runs with its null class.
                choice = choice?.scaled(by: strength)
                parts.append(order(part, choice ?? .null(of: classes)))
            }
            chosen.append(ImageOrder.Stage(start: stage.start, parts: parts))
        }
        if !used.contains(text), let missing = several.first(where: { !used.contains($0) && $0 != "null" }) ?? (several.isEmpty ? text : nil) {
            let isKnown = stages.flatMap(\.parts).contains { (try? ClassChoice(missing, in: $0.adapter.classes, domain: $0.adapter.name)) != nil }
            throw isKnown ? .unusedClass(text: missing) : .unknownClass(text: missing, among: classNames)
        }
        return (chosen, names.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }.joined(separator: ","))
    }

    /// Images 0 to `count` - 1 of a request, of one class or of all in turn, and the class of each as it was understood.
    /// - Parameters:
    ///   - name: as `choosing` takes it; nil takes the recipe's classes one after the other.
    ///   - given: noise of each image, in place of its own.
    package func orders(
        class name: String?, count: Int, seed: UInt64, guidance: ImageGuidance, strength: Double = 1, given: [GivenNoise]? = nil
    ) throws(ComposerError) -> [ClassedOrder] {
        let names = name.map { [$0] } ?? (classNames.isEmpty ? ["null"] : classNames)
        let chosen = try names.prefix(count).map { name throws(ComposerError) in try choosing(class: name, strength: strength) }
        return (0..<count).map { index in
            let (stages, name) = chosen[index % chosen.count]
            return ClassedOrder(
                order: ImageOrder(stages: stages, seed: seed, index: UInt64(index), guidance: guidance, given: given?[index]), className: name)
        }
    }

    /// The first of the texts that the adapter's table knows.
    private func find(_ texts: [String], in adapter: BoundAdapter, used: inout Set<String>) throws(ComposerError) -> ClassChoice? {
        for text in texts {
            do throws(ComposerError) {
                let choice = try ClassChoice(text, in: adapter.classes, domain: adapter.name)
                used.insert(text)
                return choice
            } catch {
                guard case .unknownClass = error else { throw error }
            }
        }
        return nil
    }

    private func order(_ part: Part, _ choice: ClassChoice) -> ImageOrder.Part {
        let weight = Float(part.weight), classes = part.adapter.classes
        if let row = choice.onlyRow { return ImageOrder.Part(adapter: part.adapter, classIndex: row, weight: weight) }
        let blended = part.adapter.adding(class: choice.text(in: classes), choice.values(in: classes, null: nullRow))
        return ImageOrder.Part(adapter: blended, classIndex: classes.names.count, weight: weight)
    }
}

/// An image to make, and its class as it was understood.
package struct ClassedOrder: Sendable {
    package let order: ImageOrder
    package let className: String
}
