import Foundation
import TensorFiles

/// An adapter as a file: safetensors with absolute values under the reference's names, the manifest in the metadata.
///
/// The file holds the tensors of its trainable set and the class table; what the set leaves out is the base's own. Checkpoints
/// of public ports are read too, in any container.
package enum AdapterFile {
    static let manifestKey = "difffit"
    static let digestKey = "digest"

    /// What the file says about itself; nil where other software wrote it.
    package static func manifest(of file: TensorFile) throws -> AdapterManifest? { try BaseFile.metadata(manifestKey, of: file) }

    /// Whether the file names the digest that its content must have, so that a part of it is never taken for the whole.
    package static func namesItsDigest(_ file: TensorFile) -> Bool { file.metadata[digestKey] != nil }

    package static func read(path: String, base: BaseFile) throws -> Adapter { try read(TensorFile(path: path), base: base) }

    /// Binds the file to the base completely, or refuses it by name and shape (law 2).
    package static func read(_ file: TensorFile, base: BaseFile) throws -> Adapter {
        let path = file.path
        let file = try tunablePart(of: file, base: base)
        let layout: TunableLayout
        var manifest: AdapterManifest
        if let stated = try self.manifest(of: file) {
            manifest = stated
            if let fault = manifest.lowRank?.fault(on: base.configuration) ?? manifest.imageGrid.flatMap(base.configuration.fault) {
                throw AdapterFormatError.badMetadata(file: path, key: manifestKey, reason: fault)
            }
            layout = manifest.layout(over: base.layout)
            guard manifest.layoutDigest == layout.digest else {
                throw AdapterFormatError.otherLayout(file: path, layout: manifest.layoutDigest.short, expected: layout.digest.short)
            }
            guard manifest.baseDigest == base.digest || manifest.baseDigest == base.card.roundedFrom else {
                throw AdapterFormatError.otherBase(file: path, base: manifest.baseDigest.short, expected: base.digest.short)
            }
        } else {
            manifest = try foreignManifest(file, base)
            layout = manifest.layout(over: base.layout)
        }
        let vector = try vector(file, manifest.trainableSet, base, layout)
        let classes = try classTable(file, names: manifest.classes, width: layout.configuration.hiddenSize)
        manifest.classes = classes.names
        var adapter = Adapter(manifest: manifest, vector: vector, classes: classes)
        if let named = file.metadata[digestKey], named != adapter.digest.description {
            throw AdapterFormatError.otherContent(file: path, digest: adapter.digest.short, named: String(named.prefix(12)))
        }
        if manifest.baseDigest != base.digest {
            // The rounded base's from here on, where the recorded call gives other values.
            adapter.manifest.baseDigest = base.digest
            adapter.manifest.golden = nil
        }
        return adapter
    }

    private static func vector(_ file: TensorFile, _ set: TrainableSet, _ base: BaseFile, _ layout: TunableLayout) throws -> TunableVector {
        var values = base.vector.extended(to: layout).values
        var wanted = Dictionary(uniqueKeysWithValues: set.tensors(of: layout).map { ($0.name, $0) })
        for entry in file.entries where entry.name != TunableLayout.classTableName {
            guard let tensor = wanted.removeValue(forKey: entry.name) else {
                throw AdapterFormatError.unknownTensor(file: file.path, name: entry.name)
            }
            guard entry.shape == tensor.shape else {
                throw AdapterFormatError.wrongShape(file: file.path, name: entry.name, shape: entry.shape, expected: tensor.shape)
            }
            values.replaceSubrange(tensor.range, with: try finite(file, entry.name))
        }
        if let missing = wanted.values.min(by: { $0.range.lowerBound < $1.range.lowerBound }) {
            throw AdapterFormatError.missingTensor(file: file.path, name: missing.name, shape: missing.shape)
        }
        return TunableVector(values, layout: layout)
    }

    private static func classTable(_ file: TensorFile, names: [String], width: Int) throws -> ClassTable {
        let name = TunableLayout.classTableName
        guard let entry = file[name] else {
            throw AdapterFormatError.missingTensor(file: file.path, name: name, shape: [names.count + 1, width])
        }
        guard entry.shape == [names.count + 1, width] else {
            throw AdapterFormatError.wrongShape(file: file.path, name: name, shape: entry.shape, expected: [names.count + 1, width])
        }
        return ClassTable(names: names, values: try finite(file, name))
    }

    private static func finite(_ file: TensorFile, _ name: String) throws -> [Float] {
        let values = try file.floats(name)
        guard values.allSatisfy(\.isFinite) else { throw AdapterFormatError.notFinite(file: file.path, name: name) }
        return values
    }

    /// The manifest of a file that other software wrote: the trainable set is told from the tensors that are there.
    private static func foreignManifest(_ file: TensorFile, _ base: BaseFile) throws -> AdapterManifest {
        if let lowRank = pairs(of: file, base.configuration) { return try foreignLoRA(file, base, lowRank) }
        let hasNorms = base.layout.tensors.contains { $0.kind == .normWeight && file[$0.name] != nil }
        let depth = base.layout.tensors.filter { $0.kind == .gamma && file[$0.name] != nil }.compactMap(\.block).max().map { $0 + 1 } ?? 0
        let set = TrainableSet(hasNorms ? .difffit : depth > 0 ? .difffitA : .bitfit, gammaDepth: depth)
        if let missing = set.tensors(of: base.layout).first(where: { file[$0.name] == nil }) {
            throw AdapterFormatError.noTrainableSet(file: file.path, missing: missing.name)
        }
        return AdapterManifest(
            name: nil, baseDigest: base.digest, layoutDigest: base.layout.digest, trainableSet: set, classes: try numberedClasses(file, base),
            prediction: base.card.prediction, path: base.card.path)
    }

    private static func numberedClasses(_ file: TensorFile, _ base: BaseFile) throws(AdapterFormatError) -> [String] {
        guard let rows = file[TunableLayout.classTableName]?.shape.first, rows > 0 else {
            throw .missingTensor(
                file: file.path, name: TunableLayout.classTableName, shape: [base.configuration.numClasses + 1, base.configuration.hiddenSize])
        }
        return (0..<(rows - 1)).map(String.init)
    }

    /// Ranks as the shapes of the pairs' first factors give them; alpha, which no shape gives, as the rank.
    private static func pairs(of file: TensorFile, _ configuration: DiTConfiguration) -> LowRank? {
        let linears = (0..<configuration.depth).flatMap { block in LowRank.Linear.allCases.map { $0.name(block: block) } }
        let ranks = linears.compactMap { name in file[LowRank.names(of: name).a]?.shape.first.map { (name, $0) } }
        return ranks.isEmpty ? nil : LowRank(ranks: Dictionary(uniqueKeysWithValues: ranks), scale: 1)
    }

    private static func foreignLoRA(_ file: TensorFile, _ base: BaseFile, _ lowRank: LowRank) throws(AdapterFormatError) -> AdapterManifest {
        if let fault = lowRank.fault(on: base.configuration) { throw .badMetadata(file: file.path, key: manifestKey, reason: fault) }
        return AdapterManifest(
            name: nil, baseDigest: base.digest, layoutDigest: base.layout.adding(lowRank).digest,
            trainableSet: TrainableSet(.lora, gammaDepth: 0), classes: try numberedClasses(file, base), prediction: base.card.prediction,
            path: base.card.path, lowRank: lowRank)
    }

    /// The file's bytes go to `path` whole or not at all. `.bf16` loses nothing of an adapter that was rounded before.
    /// - Parameter base: the base's own table.
    package static func write(_ adapter: Adapter, layout base: TunableLayout, to path: String, as type: ElementType = .f32) throws {
        var tensors = adapter.manifest.trainableSet.tensors(of: adapter.manifest.layout(over: base)).map {
            OutgoingTensor($0.name, shape: $0.shape, Array(adapter.vector.values[$0.range]), as: type)
        }
        let table = adapter.classes
        tensors.append(OutgoingTensor(TunableLayout.classTableName, shape: [table.rows, table.width], table.values, as: type))
        let metadata = [manifestKey: try sortedJSON(adapter.manifest), digestKey: adapter.digest.description, "format": "pt"]
        try SafetensorsWriter.write(tensors, metadata: metadata, to: path)
    }
}
