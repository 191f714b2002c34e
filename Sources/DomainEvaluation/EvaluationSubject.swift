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
    private let recipe: BoundRecipe?
    private let catalogue: AdapterCatalogue?

    package init(_ reference: String, _ base: BaseFile, _ recipe: BoundRecipe, of catalogue: AdapterCatalogue, data: String, trained: TrainingFacts?) {
        (self.reference, self.base, self.data, self.trained, self.recipe, self.catalogue) = (reference, base, data, trained, recipe, catalogue)
        (digest, adapter) = (recipe.digest, recipe.adapter)
    }

    package init(_ reference: String, _ base: BaseFile, _ adapter: BoundAdapter, data: String, trained: TrainingFacts?) {
        (self.reference, self.base, self.data, self.trained, recipe, catalogue) = (reference, base, data, trained, nil, nil)
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

    /// How an image of a class of a domain is made; nil where there is no such class.
    func stages(ofClass name: String, domain: String) -> [ImageOrder.Stage]? {
        if adapter != nil { return row(ofClass: name, domain: domain).map(stages) }
        return ["\(domain)/\(name)", name].lazy.compactMap { try? recipe?.choosing(class: $0).stages }.first
    }

    /// How an image of each of its own classes is made, at least one.
    func ownStages() throws -> [[ImageOrder.Stage]] {
        if let adapter { return (0..<max(1, adapter.classes.names.count)).map(stages) }
        return try recipe?.classNames.map { try recipe?.choosing(class: $0).stages ?? [] } ?? []
    }

    /// Which steps of a setting run the blocks; nil is all of them.
    /// - Throws: where it was not calibrated for the setting.
    func cache(_ setting: SamplingSetting) throws -> [Bool]? {
        guard setting.cache != .exact else { return nil }
        guard let recipe, let catalogue else { throw EvaluationError.noCache(reference: reference) }
        return try catalogue.cache(setting.cache, for: recipe, sampler: setting.sampler, steps: setting.steps)
    }

    /// The solver of the sampler `fitted`; nil for any other.
    /// - Throws: where none was fitted for the setting's steps and guidance.
    func solver(_ setting: SamplingSetting) throws -> FittedSolver? {
        guard setting.sampler == .fitted else { return nil }
        guard let recipe, let catalogue else { throw EvaluationError.noSolver(reference: reference) }
        return try catalogue.solver(for: recipe, steps: setting.steps, guidance: setting.guidance).solver
    }

    private func stages(ofRow row: Int) -> [ImageOrder.Stage] {
        adapter.map { [ImageOrder.Stage(parts: [ImageOrder.Part(adapter: $0, classIndex: row)])] } ?? []
    }
}
