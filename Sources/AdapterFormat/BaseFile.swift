import Crypto
import Foundation
import TensorFiles

/// A base: checked tensor by tensor, its matrices left in the mapped file under the reference's names.
///
/// What the shapes give is taken from the shapes; the head count, which they do not give, from the caller, the file's
/// configuration or the published sizes. Gammas and affine norms may be present; where they are not, the base vector has 1 and 0.
package struct BaseFile: Sendable {
    package let file: TensorFile
    package let configuration: DiTConfiguration
    package let card: BaseCard
    package let layout: TunableLayout
    /// The base as an adapter of itself.
    package let vector: TunableVector
    package let classes: ClassTable
    /// SHA-256 of the base in the store's own form (`encoding`): the same for the same values, whatever held them.
    package let digest: Digest
    /// The autoencoders of the pipeline folder that this is; none of a file, also a store's.
    package let autoencoders: [AutoencoderFile]
    /// What was taken though the file does not say it, a sentence each.
    package let remarks: [String]
    /// Whether two of every four weights of its blocks' matrices are zero, and the store's own form leaves them out.
    package let isSparse: Bool

    package static let positionsName = "pos_embed"

    /// - Parameters:
    ///   - path: a file in the reference's or diffusers' names (safetensors, torch, sharded), or a diffusers folder.
    ///   - heads: overrides the file's head count.
    ///   - inputSize: side of the input, where the file does not say.
    ///   - classes: real classes, where the file does not say whether its table has a null row.
    ///   - card: what a store knows of the base; otherwise the file's own card, or that of a DiT as published.
    ///   - digest: the digest where it is already known; otherwise the file is read once to compute it.
    package init(
        path: String, heads: Int? = nil, inputSize: Int? = nil, classes classCount: Int? = nil, card: BaseCard? = nil, digest: Digest? = nil
    ) throws {
        let source = try BaseSource(path: path)
        let file = source.file
        var fields = source.fields
        let rows = file[TunableLayout.classTableName]?.shape.first ?? 0, named = (card ?? source.card).classNames.count
        // As many classes as have names.
        if fields.numClasses == nil, named > 0, [rows, rows - 1].contains(named) { fields.numClasses = named }
        remarks = classCount == nil && fields.numClasses == nil && rows > 1 ? [ClassTable.assumption(file: path, rows: rows)] : []
        configuration = try BaseShapes(file: file, fields: fields)
            .configuration(heads: heads ?? card?.heads, inputSize: inputSize, classes: classCount)
        layout = TunableLayout(configuration)
        try Self.check(file, configuration, layout)
        isSparse = try Self.isSparse(file, configuration)
        var own = card ?? source.card
        if isSparse, own.sparsity == nil { own.sparsity = BaseSparsity(pattern: TwoOfFour.name) }
        self.card = own

        var values = TunableVector.neutral(layout).values
        for tensor in layout.tensors where file[tensor.name] != nil {
            values.replaceSubrange(tensor.range, with: try Self.finite(file, tensor.name))
        }
        vector = TunableVector(values, layout: layout)
        let names = self.card.classNames.isEmpty ? (0..<configuration.numClasses).map(String.init) : self.card.classNames
        guard names.count == configuration.numClasses else {
            throw AdapterFormatError.badMetadata(file: path, key: "card", reason: "\(names.count, "class name") for \(configuration.numClasses, "class")")
        }
        let table = try Self.finite(file, TunableLayout.classTableName)
        classes =
            configuration.hasNullRow
            ? ClassTable(names: names, values: table) : .withoutNullRow(names: names, values: table, width: configuration.hiddenSize)
        self.file = file
        autoencoders = source.autoencoders
        self.digest = try digest ?? Digest(of: Self.encoding(file, configuration, layout, vector, classes, as: nil, compressed: isSparse).pieces)
    }

    /// Refuses a matrix with a value that is not finite. Reads the whole file, so it belongs to an import, not to a start.
    package func checkMatrices() throws {
        for tensor in configuration.frozenTensors where try !file.entry(tensor.name).isFinite {
            throw AdapterFormatError.notFinite(file: file.path, name: tensor.name)
        }
    }

    /// The base in the store's own form: safetensors in the reference's names and order, matrices as they are (bfloat16 or else
    /// float32) and of a sparse base without what is zero, the tunable values and the class table as float32, and no positions, since they
    /// follow from the shape.
    /// - Parameter type: `.bf16` rounds every matrix, which makes another base.
    package func encoding(as type: DType? = nil) throws -> SafetensorsEncoding {
        try Self.encoding(file, configuration, layout, vector, classes, as: type, compressed: isSparse)
    }

    /// The same with the table of positions, which the reference's own code wants to find.
    /// - Parameter compressed: whether a sparse base's matrices are left as they are stored; that code wants them with their zeros.
    package func exported(compressed: Bool = false) throws -> SafetensorsEncoding {
        let positions = OutgoingTensor(Self.positionsName, shape: [1, configuration.tokens, configuration.hiddenSize], configuration.positions)
        return try Self.encoding(
            file, configuration, layout, vector, classes, as: nil, compressed: compressed && isSparse, isSparse: isSparse, before: [positions])
    }

    private static func encoding(
        _ file: TensorFile, _ configuration: DiTConfiguration, _ layout: TunableLayout, _ vector: TunableVector, _ classes: ClassTable,
        as type: DType?, compressed: Bool, isSparse: Bool? = nil, before: [OutgoingTensor] = []
    ) throws -> SafetensorsEncoding {
        var metadata = ["config": try sortedJSON(configuration), "format": "pt"]
        metadata["card"] = file.metadata["card"]
        if isSparse ?? compressed { metadata[SparsityConfiguration.key] = try sortedJSON(compressed ? SparsityConfiguration.compressed : .dense) }
        let matrices = try configuration.frozenTensors.flatMap { tensor in
            let entry = try file.entry(tensor.name), type = type ?? (entry.dtype == .bf16 ? .bf16 : .f32)
            guard compressed, configuration.isSparse(tensor.name) else { return [OutgoingTensor(entry, as: type)] }
            return OutgoingTensor.twoOfFour(tensor.name, shape: tensor.shape, as: type) { entry.floats($0) }
        }
        let values = tunables(layout, vector, classes) { $0.kind == .bias || file[$0.name] != nil }
        return SafetensorsEncoding(before + matrices + values, metadata: metadata)
    }

    private static func tunables(
        _ layout: TunableLayout, _ vector: TunableVector, _ classes: ClassTable, where isStored: (TunableTensor) -> Bool
    ) -> [OutgoingTensor] {
        layout.tensors.filter(isStored).map { OutgoingTensor($0.name, shape: $0.shape, Array(vector.values[$0.range])) }
            + [OutgoingTensor(TunableLayout.classTableName, shape: classes.stored.shape, classes.stored.values)]
    }

    private static func check(_ file: TensorFile, _ configuration: DiTConfiguration, _ layout: TunableLayout) throws {
        let D = configuration.hiddenSize
        var expected = Dictionary(uniqueKeysWithValues: configuration.frozenTensors.map { ($0.name, $0.shape) })
        for tensor in layout.tensors { expected[tensor.name] = tensor.shape }
        expected[TunableLayout.classTableName] = [configuration.classRows, D]
        expected[positionsName] = [1, configuration.tokens, D]
        for entry in file.entries {
            guard let shape = expected.removeValue(forKey: entry.name) else {
                throw AdapterFormatError.unknownTensor(file: file.path, name: entry.name)
            }
            guard entry.shape == shape else {
                throw AdapterFormatError.wrongShape(file: file.path, name: entry.name, shape: entry.shape, expected: shape)
            }
            guard entry.dtype.isFloatingPoint else {
                throw TensorFileError.wrongType(path: file.path, name: entry.name, type: entry.dtype.rawValue, wanted: "a floating-point type")
            }
        }
        let optional = Set(layout.tensors.filter { $0.kind != .bias }.map(\.name) + [positionsName])
        if let missing = expected.keys.filter({ !optional.contains($0) }).min() {
            throw AdapterFormatError.missingTensor(file: file.path, name: missing, shape: expected[missing] ?? [])
        }
        if let entry = file[positionsName] {
            // Positions lie between -1 and 1; a checkpoint in half precision has rounded them too, whatever type it is kept in now.
            let tolerance = max(1e-4, entry.roundingStep)
            let largest = zip(try finite(file, positionsName), configuration.positions).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
            guard largest < tolerance else { throw AdapterFormatError.otherPositions(file: file.path, largest: largest) }
        }
    }

    private static func finite(_ file: TensorFile, _ name: String) throws -> [Float] {
        let values = try file.floats(name)
        guard values.allSatisfy(\.isFinite) else { throw AdapterFormatError.notFinite(file: file.path, name: name) }
        return values
    }

    /// The JSON under a metadata key; nil where the file has no such key.
    static func metadata<Value: Decodable>(_ key: String, of file: TensorFile) throws(AdapterFormatError) -> Value? {
        guard let text = file.metadata[key] else { return nil }
        do {
            return try JSONDecoder().decode(Value.self, from: Data(text.utf8))
        } catch {
            throw .badMetadata(file: file.path, key: key, reason: plainReason(error))
        }
    }

    /// Writes a base: matrices and tunable values under their reference names, shape and card in the metadata.
    /// - Parameters:
    ///   - matrix: values of a frozen tensor by its name.
    ///   - vector: gammas and affine norms that do nothing are left out, as in published files.
    ///   - type: `.bf16` halves the matrices; vector and class table stay float32. Where the card says that the base is sparse, the blocks'
    ///     matrices are written without what is zero.
    package static func write(
        to path: String, _ configuration: DiTConfiguration, card: BaseCard, vector: TunableVector, classes: ClassTable, as type: DType,
        matrix: (String) throws -> [Float]
    ) throws {
        let layout = TunableLayout(configuration), neutral = TunableVector.neutral(layout)
        let matrices = try configuration.frozenTensors.flatMap { tensor in
            let values = try matrix(tensor.name)
            guard card.sparsity != nil, configuration.isSparse(tensor.name) else { return [OutgoingTensor(tensor.name, shape: tensor.shape, values, as: type)] }
            return OutgoingTensor.twoOfFour(tensor.name, shape: tensor.shape, as: type) { Array(values[$0]) }
        }
        let tensors = matrices + tunables(layout, vector, classes) { $0.kind == .bias || vector.values[$0.range] != neutral.values[$0.range] }
        var metadata = ["config": try sortedJSON(configuration), "card": try sortedJSON(card), "format": "pt"]
        if card.sparsity != nil { metadata[SparsityConfiguration.key] = try sortedJSON(SparsityConfiguration.compressed) }
        try SafetensorsWriter.write(tensors, metadata: metadata, to: path)
    }
}

/// Canonical JSON: sorted keys, no blanks.
package func sortedJSON(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
}

extension Digest {
    /// SHA-256 of bytes that come a piece at a time.
    package init(of pieces: some Sequence<[UInt8]>) {
        var hash = SHA256()
        for piece in pieces { hash.update(data: piece) }
        self.init(hash.finalize())
    }
}
