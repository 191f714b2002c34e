import AdapterComposer
import AdapterFormat
import AdapterStore
import Foundation
import SamplingEngine
import SyntheticDomains

/// What is evaluated: a recipe over the frozen base, an adapter file, or a base of its own.
struct EvaluationSubject {
    /// As the user named it.
    let reference: String
    let base: BaseFile
    let digest: Digest
    /// The one vector of all steps; nil for a schedule or a sum of predictions, which has no denoising error of its own.
    let adapter: BoundAdapter?
    /// The real images it is measured against, as `--data` names them.
    let data: String
    private let trained: TrainingFacts?
    private let recipe: BoundRecipe?
    private let catalogue: AdapterCatalogue?

    init(_ reference: String, _ base: BaseFile, _ recipe: BoundRecipe, of catalogue: AdapterCatalogue, data: String, trained: TrainingFacts?) {
        (self.reference, self.base, self.data, self.trained, self.recipe, self.catalogue) = (reference, base, data, trained, recipe, catalogue)
        (digest, adapter) = (recipe.digest, recipe.adapter)
    }

    init(_ reference: String, _ base: BaseFile, _ adapter: BoundAdapter, data: String, trained: TrainingFacts?) {
        (self.reference, self.base, self.data, self.trained, recipe, catalogue) = (reference, base, data, trained, nil, nil)
        (digest, self.adapter) = (adapter.digest, adapter)
    }

    /// How it was trained, and at which size.
    var training: RealImages.Training? {
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
        guard let recipe, let catalogue else { throw Failure.usage("only what is in the store has a calibrated cache, not '\(reference)'") }
        return try catalogue.cache(setting.cache, for: recipe, sampler: setting.sampler, steps: setting.steps)
    }

    private func stages(ofRow row: Int) -> [ImageOrder.Stage] {
        adapter.map { [ImageOrder.Stage(parts: [ImageOrder.Part(adapter: $0, classIndex: row)])] } ?? []
    }
}

extension Eval {
    /// Everything the command line names, in its order, and the base whose features measure it.
    func subjects() throws -> (frozen: BaseFile, subjects: [EvaluationSubject]) {
        var (frozen, subjects) = try baseFile == nil && !(references.isEmpty && adapterFile.isEmpty && tuned.isEmpty) ? stored() : withoutStore()
        subjects += try adapterFile.map { path in
            let adapter = try AdapterFile.read(path: path, base: frozen, as: .noting)
            let name = adapter.manifest.name ?? path
            let bound = BoundAdapter(
                name: name, digest: adapter.digest, vector: adapter.vector, classes: adapter.classes, grid: adapter.manifest.imageGrid)
            let facts = adapter.manifest.training
            return EvaluationSubject(name, frozen, bound, data: try realImages(name, trainedOn: facts), trained: facts)
        }
        subjects += try tuned.map { path in
            let base = try adapterctl.baseFile(at: path)
            let (own, wanted) = (base.configuration, frozen.configuration)
            guard own.inputSize == wanted.inputSize, own.inChannels == wanted.inChannels else {
                throw Failure.usage(
                    "'\(path)' makes \(own.inChannels, "channel") of \(own.inputSize)x\(own.inputSize), the base \(frozen.digest.short) \(wanted.inChannels) of \(wanted.inputSize)x\(wanted.inputSize)"
                )
            }
            let name = URL(filePath: path).deletingPathExtension().lastPathComponent
            let facts = base.card.training
            return EvaluationSubject(name, base, BoundAdapter(base), data: try realImages(name, trainedOn: facts), trained: facts)
        }
        return (frozen, subjects)
    }

    private func stored() throws -> (BaseFile, [EvaluationSubject]) {
        let store = try location.open()
        let recipes = try references.map { try Recipe($0) }
        let frozen = try store.baseFile(of: recipes.first { !$0.references.isEmpty } ?? Recipe("base"), base)
        let catalogue = try AdapterCatalogue(store, base: frozen)
        let subjects = try zip(references, recipes).map { reference, recipe in
            let facts = try recipe.only.flatMap { $0 == "base" ? frozen.card.training : try store.lookup($0).decodedManifest().training }
            return EvaluationSubject(
                reference, frozen, try catalogue.bind(recipe), of: catalogue, data: try realImages(reference, trainedOn: facts), trained: facts)
        }
        return (frozen, subjects)
    }

    private func withoutStore() throws -> (BaseFile, [EvaluationSubject]) {
        guard let baseFile else { throw Failure.usage("give at least one domain or recipe, --adapter-file or --tuned") }
        guard references.allSatisfy({ $0 == "base" }) else {
            throw Failure.usage("--base-file leaves the store out: name adapters by --adapter-file, or base")
        }
        let frozen = try adapterctl.baseFile(at: baseFile)
        let facts = frozen.card.training
        return try (frozen, references.map { EvaluationSubject($0, frozen, BoundAdapter(frozen), data: try realImages($0, trainedOn: facts), trained: facts) })
    }

    /// `--data`, else the drawn domain that it was trained on, else the one of its name.
    private func realImages(_ reference: String, trainedOn facts: TrainingFacts?) throws -> String {
        let guess = [facts?.data ?? "", "synthetic:\(reference)"].first { source in
            source.hasPrefix("synthetic:") && SyntheticDomain.named(String(source.dropFirst("synthetic:".count))) != nil
        }
        guard let source = data ?? guess else {
            throw Failure.usage("'\(reference)' does not say what it was trained on: give --data synthetic:DOMAIN, or a folder")
        }
        return source
    }
}
