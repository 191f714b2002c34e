import AdapterComposer
import AdapterFormat
import AdapterStore
import DomainEvaluation
import Foundation
import SamplingEngine
import SyntheticDomains

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
            return try EvaluationSubject(
                reference, frozen, recipe, of: catalogue, data: try realImages(reference, trainedOn: facts), trained: facts)
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
