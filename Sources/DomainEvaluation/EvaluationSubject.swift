import AdapterComposer
import AdapterFormat
import Diffusion
import Evaluation
import SamplingEngine

/// What is evaluated: a recipe over the frozen base, an adapter file, or a base of its own.
package struct EvaluationSubject {
    /// As the user named it.
    package let reference: String
    let base: BaseFile
    let digest: Digest
    /// The one vector of all steps; nil for a schedule or a sum of predictions, which has no denoising error of its own.
    let adapter: BoundAdapter?
    /// The real images it is measured against, as `--data` names them.
    package let data: String
    private let trained: TrainingFacts?
    private let recipe: Recipe?
    private let bound: BoundRecipe?
    private let catalogue: AdapterCatalogue?

    package init(_ reference: String, _ base: BaseFile, _ recipe: Recipe, of catalogue: AdapterCatalogue, data: String, trained: TrainingFacts?) throws {
        (self.reference, self.base, self.data, self.trained, self.recipe, self.catalogue) = (reference, base, data, trained, recipe, catalogue)
        let bound = try catalogue.bind(recipe)
        self.bound = bound
        (digest, adapter) = (bound.digest, bound.adapter)
    }

    package init(_ reference: String, _ base: BaseFile, _ adapter: BoundAdapter, data: String, trained: TrainingFacts?) {
        (self.reference, self.base, self.data, self.trained, recipe, catalogue) = (reference, base, data, trained, nil, nil)
        bound = nil
        (digest, self.adapter) = (adapter.digest, adapter)
    }

    /// How it was trained, and at which size.
    package var training: RealImages.Training? {
        trained.map { RealImages.Training(facts: $0, size: adapter?.grid?.size ?? base.configuration.inputSize) }
    }

    /// The row of the class table that a class of a domain has; nil where there is none.
    func row(ofClass name: String, domain: String) -> Int? {
        guard let adapter else { return nil }
        return ["\(domain)/\(name)", name].lazy.compactMap { try? ClassChoice($0, in: adapter.classes, domain: adapter.name).onlyRow }.first
    }

    /// Whether it makes images of a class of a domain.
    func knows(class name: String, domain: String) -> Bool {
        guard let bound else { return row(ofClass: name, domain: domain) != nil }
        return ["\(domain)/\(name)", name].contains { (try? bound.choosing(class: $0)) != nil }
    }

    /// A setting with what the subject's recipe demands of it, and how its images are made.
    func settled(_ setting: SamplingSetting) throws -> Settled {
        var setting = setting
        guard let recipe, let catalogue else {
            guard setting.asked.sampler != .fitted else { throw EvaluationError.noSolver(reference: reference) }
            guard setting.cache == .exact else { throw EvaluationError.noCache(reference: reference) }
            guard setting.asked.kind != .distilled else { throw EvaluationError.noDistilled(reference: reference) }
            setting.sampling = try setting.asked.usual(on: DiffusionConvention(base).path)
            return Settled(setting: setting, recipe: nil, cache: nil)
        }
        let settled = try catalogue.settle(recipe, setting.asked)
        setting.sampling = settled.sampling
        let cache = try catalogue.cache(setting.cache, for: settled.recipe, sampler: settled.sampling.sampler, steps: settled.sampling.steps)
        return Settled(setting: setting, recipe: settled.recipe, cache: cache)
    }

    struct Settled {
        let setting: SamplingSetting
        /// nil of what is no recipe of a store's.
        let recipe: BoundRecipe?
        /// Which network calls run the blocks; nil is all of them.
        let cache: [Bool]?
    }

    /// How an image of a class of a domain is made; nil where there is no such class.
    func stages(ofClass name: String, domain: String, _ settled: Settled) -> [ImageOrder.Stage]? {
        guard let recipe = settled.recipe else { return row(ofClass: name, domain: domain).map(stages) }
        return ["\(domain)/\(name)", name].lazy.compactMap { try? recipe.choosing(class: $0).stages }.first
    }

    /// How an image of each of its own classes is made, at least one.
    func ownStages(_ settled: Settled) throws -> [[ImageOrder.Stage]] {
        guard let recipe = settled.recipe else { return (0..<max(1, adapter?.classes.names.count ?? 0)).map(stages) }
        return try (recipe.classNames.isEmpty ? ["null"] : recipe.classNames).map { try recipe.choosing(class: $0).stages }
    }

    private func stages(ofRow row: Int) -> [ImageOrder.Stage] {
        adapter.map { [ImageOrder.Stage(parts: [ImageOrder.Part(adapter: $0, classIndex: row)])] } ?? []
    }
}
