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

    /// The file of weights that a path means: itself, or what PEFT and diffusers call theirs in a folder.
    package static func weights(_ path: String) throws -> String {
        guard WeightsFolder.isFolder(path) else { return path }
        let names = ["adapter_model.safetensors", "adapter_model.bin", "pytorch_lora_weights.safetensors", "pytorch_lora_weights.bin"]
        guard let name = names.first(where: { FileManager.default.fileExists(atPath: "\(path)/\($0)") }) else {
            let below = adapters(below: path, names)
            if !below.isEmpty {
                let shown = below.prefix(4).map { "'\(path.droppingLastSlashes)/\($0)'" }.joined(separator: " or ")
                throw TensorFileError.unreadable(path: path, reason: "it holds no adapter itself, but its sub-folders do; did you mean \(shown)?")
            }
            throw TensorFileError.unreadable(
                path: path, reason: "it is a folder without \(names.dropLast().joined(separator: ", ")) or \(names[3]); an adapter is one file")
        }
        return "\(path)/\(name)"
    }

    /// Sub-folders with an adapter, as PEFT saves several of one model and trainers their checkpoints; the latest step first.
    private static func adapters(below path: String, _ names: [String]) -> [String] {
        let files = FileManager.default
        let found = ((try? files.contentsOfDirectory(atPath: path)) ?? []).filter { folder in
            (names + ["adapter_config.json"]).contains { files.fileExists(atPath: "\(path)/\(folder)/\($0)") }
        }
        func step(_ folder: String) -> Int { Int(folder.reversed().prefix { $0.isNumber }.reversed().map(String.init).joined()) ?? -1 }
        return found.sorted { (step($1), $0) < (step($0), $1) }
    }

    /// - Parameter path: a file, or a folder as PEFT and diffusers save LoRA adapters.
    package static func read(path: String, base: BaseFile, as reading: AdapterReading = AdapterReading()) throws -> Adapter {
        try read(TensorFile(path: weights(path)), base: base, as: reading)
    }

    /// Binds the file to the base completely, or refuses it by name and shape (law 2).
    /// - Parameter reading: what the user says of a file of other software.
    package static func read(_ file: TensorFile, base: BaseFile, as reading: AdapterReading = AdapterReading()) throws -> Adapter {
        let path = file.path
        guard let stated = try manifest(of: file) else {
            if file.entries.contains(where: { LowRankNames.isLowRank($0.name) }) { return try lowRank(file, base, reading) }
            return try port(tunablePart(of: BaseSource.model(in: file), base: base), base, reading)
        }
        try check(stated, path)
        if let fault = stated.lowRank?.fault(on: base.configuration) ?? stated.imageGrid.flatMap(base.configuration.fault) ?? stated.distillationFault {
            throw AdapterFormatError.badMetadata(file: path, key: manifestKey, reason: fault)
        }
        let layout = stated.layout(over: base.layout)
        guard stated.layoutDigest == layout.digest else {
            throw AdapterFormatError.otherLayout(file: path, layout: stated.layoutDigest.short, expected: layout.digest.short)
        }
        guard stated.baseDigest == base.digest || stated.baseDigest == base.card.roundedFrom else {
            if base.isMade(of: stated.baseDigest) {
                throw AdapterFormatError.denseBase(file: path, base: stated.baseDigest.short, sparse: base.digest.short)
            }
            throw AdapterFormatError.otherBase(file: path, base: stated.baseDigest.short, expected: base.digest.short)
        }
        let vector = try vector(file, stated.trainableSet, base, layout, steps: stated.distillation?.steps)
        let classes = try classTable(file, names: stated.classes, width: layout.configuration.hiddenSize)
        var adapter = Adapter(manifest: stated, vector: vector, classes: classes)
        if let named = file.metadata[digestKey], named != adapter.digest.description {
            throw AdapterFormatError.otherContent(file: path, digest: adapter.digest.short, named: String(named.prefix(12)))
        }
        if stated.baseDigest != base.digest {
            // The rounded base's from here on, where the recorded call gives other values.
            adapter.manifest.baseDigest = base.digest
            adapter.manifest.golden = nil
        }
        return adapter
    }

    /// Refuses what a later version may mean by its fields.
    private static func check(_ manifest: AdapterManifest, _ path: String) throws(AdapterFormatError) {
        guard (1...AdapterManifest.latestSchema).contains(manifest.schemaVersion) else {
            throw .badMetadata(
                file: path, key: manifestKey,
                reason:
                    "a later version of this program wrote it (schema \(manifest.schemaVersion)); this one knows schemas 1 to \(AdapterManifest.latestSchema)")
        }
        guard manifest.kind == (manifest.trainableSet.isLowRank ? "lora" : "difffit"), manifest.trainableSet.isLowRank == (manifest.lowRank != nil) else {
            throw .badMetadata(
                file: path, key: manifestKey, reason: "its kind '\(manifest.kind)' does not fit its set '\(manifest.trainableSet.method.rawValue)'")
        }
    }

    private static func vector(_ file: TensorFile, _ set: TrainableSet, _ base: BaseFile, _ layout: TunableLayout, steps: Int? = nil) throws -> TunableVector {
        var values = base.vector.extended(to: layout, steps: steps).values
        var wanted = Dictionary(uniqueKeysWithValues: set.tensors(of: layout).map { ($0.name, $0) })
        for entry in file.entries where entry.name != TunableLayout.classTableName {
            guard let tensor = wanted.removeValue(forKey: entry.name) else {
                if let how = TensorFile.quantisation(of: entry.name) { throw AdapterFormatError.quantised(file: file.path, name: entry.name, how: how) }
                throw AdapterFormatError.unknownTensor(file: file.path, name: entry.name)
            }
            guard entry.shape == tensor.shape else {
                throw AdapterFormatError.wrongShape(file: file.path, name: entry.name, shape: entry.shape, expected: tensor.shape)
            }
            values.replaceSubrange(tensor.range, with: try file.finite(entry.name))
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
        let hasNullRow = entry.shape != [names.count, width]
        guard entry.shape == [names.count + 1, width] || !hasNullRow && !names.isEmpty else {
            throw AdapterFormatError.wrongShape(file: file.path, name: name, shape: entry.shape, expected: [names.count + 1, width])
        }
        let values = try file.finite(name)
        return hasNullRow ? ClassTable(names: names, values: values) : .withoutNullRow(names: names, values: values, width: width)
    }

    /// The adapter in a checkpoint that other software wrote: the trainable set is told from the tensors that are there.
    private static func port(_ file: TensorFile, _ base: BaseFile, _ reading: AdapterReading) throws -> Adapter {
        let hasNorms = base.layout.tensors.contains { $0.kind == .normWeight && file[$0.name] != nil }
        let depth = base.layout.tensors.filter { $0.kind == .gamma && file[$0.name] != nil }.compactMap(\.block).max().map { $0 + 1 } ?? 0
        let set = TrainableSet(hasNorms ? .difffit : depth > 0 ? .difffitA : .bitfit, gammaDepth: depth)
        if let missing = set.tensors(of: base.layout).first(where: { file[$0.name] == nil }) {
            throw AdapterFormatError.noTrainableSet(file: file.path, missing: missing.name, beginnings: Array(file.beginnings.prefix(6)))
        }
        guard let rows = file[TunableLayout.classTableName]?.shape.first else {
            throw AdapterFormatError.missingTensor(
                file: file.path, name: TunableLayout.classTableName, shape: [base.configuration.numClasses + 1, base.configuration.hiddenSize])
        }
        let names = try numberedClasses(rows: rows, file, base, reading)
        let vector = try vector(file, set, base, base.layout)
        let classes = try classTable(file, names: names, width: base.configuration.hiddenSize)
        let manifest = AdapterManifest(
            name: nil, baseDigest: base.digest, layoutDigest: base.layout.digest, trainableSet: set, classes: classes.names,
            prediction: base.card.prediction, path: base.card.path)
        return Adapter(manifest: manifest, vector: vector, classes: classes)
    }

    /// As many classes as the user or the file's own arguments say; else one fewer than the table has rows, whose last is null, unless
    /// the base has no null row either.
    private static func numberedClasses(rows: Int, _ file: TensorFile, _ base: BaseFile, _ reading: AdapterReading) throws(AdapterFormatError) -> [String] {
        let stated = reading.classes ?? BaseFields(arguments: file.arguments, classRows: rows).numClasses
        let count = stated ?? (rows == 1 || !base.configuration.hasNullRow ? rows : rows - 1)
        if stated == nil, rows > 1, base.configuration.hasNullRow, rows != base.classes.rows {
            reading.onRemark?(ClassTable.assumption(file: file.path, rows: rows))
        }
        guard count > 0, [rows, rows - 1].contains(count) else { throw .classCount(file: file.path, rows: rows, classes: count) }
        return (0..<count).map(String.init)
    }

    private static func lowRank(_ file: TensorFile, _ base: BaseFile, _ reading: AdapterReading) throws -> Adapter {
        let neighbour = URL(filePath: file.path).deletingLastPathComponent().appending(path: "adapter_config.json").path(percentEncoded: false)
        let name = URL(filePath: file.path).lastPathComponent
        let isNamed = name.hasPrefix("adapter_model.") || name.hasPrefix("pytorch_lora_weights.")
        let found = try LowRankFile(file, base: base, config: isNamed ? neighbour : nil, reading: reading)
        for remark in found.remarks { reading.onRemark?(remark) }
        if found.lowRank.ranks.isEmpty { throw AdapterFormatError.otherMethod(file: file.path, what: "has no pair for a linear layer of a block") }
        let layout = base.layout.adding(found.lowRank)
        var values = base.vector.extended(to: layout).values
        for (name, own) in found.factors.merging(found.biases, uniquingKeysWith: { $1 }) {
            guard let tensor = layout[name] else { throw AdapterFormatError.unknownTensor(file: file.path, name: name) }
            values.replaceSubrange(tensor.range, with: own)
        }
        var classes = base.classes
        if let (rows, own) = found.table {
            let names = try numberedClasses(rows: rows, file, base, reading)
            classes =
                names.count < rows ? ClassTable(names: names, values: own) : .withoutNullRow(names: names, values: own, width: base.configuration.hiddenSize)
        }
        let manifest = AdapterManifest(
            name: nil, baseDigest: base.digest, layoutDigest: layout.digest,
            trainableSet: TrainableSet(found.biases.isEmpty ? .lora : .loraBias, gammaDepth: 0),
            classes: classes.names, prediction: base.card.prediction, path: base.card.path, lowRank: found.lowRank)
        return Adapter(manifest: manifest, vector: TunableVector(values, layout: layout), classes: classes)
    }

    /// The file's bytes go to `path` whole or not at all. `.bf16` loses nothing of an adapter that was rounded before.
    /// - Parameter base: the base's own table.
    package static func write(_ adapter: Adapter, layout base: TunableLayout, to path: String, as type: DType = .f32) throws {
        var tensors = adapter.manifest.trainableSet.tensors(of: adapter.manifest.layout(over: base)).map {
            OutgoingTensor($0.name, shape: $0.shape, Array(adapter.vector.values[$0.range]), as: type)
        }
        let table = adapter.classes
        tensors.append(OutgoingTensor(TunableLayout.classTableName, shape: table.stored.shape, table.stored.values, as: type))
        let metadata = [manifestKey: try sortedJSON(adapter.manifest), digestKey: adapter.digest.description, "format": "pt"]
        try SafetensorsWriter.write(tensors, metadata: metadata, to: path)
    }
}

extension String {
    fileprivate var droppingLastSlashes: String {
        var text = self[...]
        while text.count > 1, text.hasSuffix("/") { text.removeLast() }
        return String(text)
    }
}

/// What a user says of an adapter file that the file itself leaves open.
package struct AdapterReading: Sendable {
    /// LoRA's alpha, the same in every layer.
    package var loraAlpha: Double?
    /// alpha / rank itself, the same in every layer.
    package var loraScale: Double?
    /// Real classes of its table, which then has a null row or not.
    package var classes: Int?
    /// Told, in a sentence, what was taken though the file says two things of it, or nothing.
    package var onRemark: (@Sendable (String) -> Void)?

    package init(loraAlpha: Double? = nil, loraScale: Double? = nil, classes: Int? = nil) {
        self.loraAlpha = loraAlpha
        self.loraScale = loraScale
        self.classes = classes
    }
}
