import AdapterFormat
import AdapterStore
import Foundation
import SamplingEngine
import SyntheticDomains

/// What is evaluated: an adapter over its base, or a base of its own.
struct EvaluationSubject {
    /// As the user named it.
    let reference: String
    let base: BaseFile
    let adapter: BoundAdapter
    /// The real images it is measured against, as `--data` names them.
    let data: String

    /// - Parameter trainedOn: data that its manifest or card names.
    init(_ reference: String, _ base: BaseFile, _ adapter: BoundAdapter, trainedOn: String?, data: String?) throws {
        let guess = [trainedOn, "synthetic:\(reference)"].compactMap { $0 }.first { source in
            source.hasPrefix("synthetic:") && SyntheticDomain.named(String(source.dropFirst("synthetic:".count))) != nil
        }
        guard let data = data ?? guess else {
            throw Failure.usage("'\(reference)' does not say what it was trained on: give --data synthetic:DOMAIN, or a folder")
        }
        (self.reference, self.base, self.adapter, self.data) = (reference, base, adapter, data)
    }

    /// Rows of the class table that stand for classes of the real images, in their order; nil where it has no such class.
    ///
    /// A class of a composition is also found behind its domain's name, where only one domain has it.
    func rows(of classNames: [String]) -> [Int?] {
        let names = adapter.classes.names
        return classNames.map { name in
            if let row = names.firstIndex(of: name) { return row }
            let behind = names.indices.filter { names[$0].hasSuffix("/" + name) }
            return behind.count == 1 ? behind[0] : nil
        }
    }
}

extension Eval {
    /// Everything the command line names, in its order, and the base whose features measure it.
    func subjects() throws -> (frozen: BaseFile, subjects: [EvaluationSubject]) {
        let frozen: BaseFile
        var subjects: [EvaluationSubject] = []
        if let baseFile {
            guard references.allSatisfy({ $0 == "base" }) else {
                throw Failure.usage("--base-file leaves the store out: name adapters by --adapter-file, or base")
            }
            frozen = try BaseFile(path: baseFile)
            subjects = try references.map { _ in try baseItself(frozen) }
        } else {
            let store = try location.open()
            let first = try references.first { $0 != "base" }.map(store.lookup)
            frozen = try first.map { try store.baseFile($0.baseDigest) } ?? store.baseFile(base)
            let catalogue = try AdapterCatalogue(store, base: frozen)
            subjects = try references.map { reference in
                if reference == "base" { return try baseItself(frozen) }
                let manifest = try store.lookup(reference).decodedManifest
                return try EvaluationSubject(
                    reference, frozen, catalogue.bind(reference).adapter, trainedOn: manifest?.training?.data, data: data)
            }
        }
        subjects += try adapterFile.map { path in
            let adapter = try AdapterFile.read(path: path, base: frozen)
            let bound = BoundAdapter(
                name: adapter.manifest.name ?? path, digest: adapter.digest, vector: adapter.vector, classes: adapter.classes)
            return try EvaluationSubject(bound.name, frozen, bound, trainedOn: adapter.manifest.training?.data, data: data)
        }
        subjects += try tuned.map { path in
            let base = try BaseFile(path: path)
            let (own, wanted) = (base.configuration, frozen.configuration)
            guard own.inputSize == wanted.inputSize, own.inChannels == wanted.inChannels else {
                throw Failure.usage(
                    "'\(path)' makes \(own.inChannels) channels of \(own.inputSize)x\(own.inputSize), the base \(frozen.digest.short) \(wanted.inChannels) of \(wanted.inputSize)x\(wanted.inputSize)")
            }
            let name = URL(filePath: path).deletingPathExtension().lastPathComponent
            let itself = BoundAdapter(name: name, digest: base.digest, vector: base.vector, classes: base.classes)
            return try EvaluationSubject(name, base, itself, trainedOn: base.card.training?.data, data: data)
        }
        return (frozen, subjects)
    }

    private func baseItself(_ base: BaseFile) throws -> EvaluationSubject {
        let itself = BoundAdapter(name: "base", digest: base.digest, vector: base.vector, classes: base.classes)
        return try EvaluationSubject("base", base, itself, trainedOn: base.card.training?.data, data: data)
    }
}
