import Crypto
import Foundation
import TensorFiles

/// A base in the reference's own key names: checked tensor by tensor, its matrices left in the mapped file.
///
/// What the shapes give is taken from the shapes; the head count, which they do not give, from the metadata's `config` or the
/// caller. Gammas and affine norms may be present; where they are not, the base vector has 1 and 0.
package struct BaseFile: Sendable {
    package let file: SafetensorsFile
    package let configuration: DiTConfiguration
    package let card: BaseCard
    package let layout: TunableLayout
    /// The base as an adapter of itself.
    package let vector: TunableVector
    package let classes: ClassTable
    /// SHA-256 of the file.
    package let digest: Digest
    /// The file's own table of positions (T D), where it has one.
    package let positions: [Float]?

    package static let positionsName = "pos_embed"

    /// - Parameters:
    ///   - heads: overrides the metadata's head count.
    ///   - digest: the file's digest where it is already known; otherwise the file is read once to compute it.
    package init(path: String, heads: Int? = nil, digest: Digest? = nil) throws {
        let file = try SafetensorsFile(path: path)
        configuration = try BaseShapes(file).configuration(heads: heads)
        card = try Self.metadata("card", of: file) ?? .dit
        layout = TunableLayout(configuration)
        try Self.check(file, configuration, layout)

        var values = TunableVector.neutral(layout).values
        for tensor in layout.tensors where file[tensor.name] != nil {
            values.replaceSubrange(tensor.range, with: try Self.finite(file, tensor.name))
        }
        vector = TunableVector(values, layout: layout)
        let names = card.classNames.isEmpty ? (0..<configuration.numClasses).map(String.init) : card.classNames
        guard names.count == configuration.numClasses else {
            throw AdapterFormatError.badMetadata(file: path, key: "card", reason: "\(names.count) class names for \(configuration.numClasses) classes")
        }
        classes = ClassTable(names: names, values: try Self.finite(file, TunableLayout.classTableName))
        positions = file[Self.positionsName] == nil ? nil : try Self.finite(file, Self.positionsName)
        self.file = file
        self.digest = digest ?? Digest(of: file.file)
    }

    /// Refuses a matrix with a value that is not finite. Reads the whole file, so it belongs to an import, not to a start.
    package func checkMatrices() throws {
        for (name, _) in configuration.frozenTensors { _ = try Self.finite(file, name) }
    }

    private static func check(_ file: SafetensorsFile, _ configuration: DiTConfiguration, _ layout: TunableLayout) throws(AdapterFormatError) {
        let D = configuration.hiddenSize
        var expected = Dictionary(uniqueKeysWithValues: configuration.frozenTensors.map { ($0.name, $0.shape) })
        for tensor in layout.tensors { expected[tensor.name] = tensor.shape }
        expected[TunableLayout.classTableName] = [configuration.numClasses + 1, D]
        expected[positionsName] = [1, configuration.tokens, D]
        for entry in file.entries {
            guard let shape = expected.removeValue(forKey: entry.name) else { throw .unknownTensor(file: file.path, name: entry.name) }
            guard entry.shape == shape else { throw .wrongShape(file: file.path, name: entry.name, shape: entry.shape, expected: shape) }
        }
        let optional = Set(layout.tensors.filter { $0.kind != .bias }.map(\.name) + [positionsName])
        if let missing = expected.keys.filter({ !optional.contains($0) }).min() {
            throw .missingTensor(file: file.path, name: missing, shape: expected[missing] ?? [])
        }
    }

    private static func finite(_ file: SafetensorsFile, _ name: String) throws -> [Float] {
        let values = try file.floats(name)
        guard values.allSatisfy(\.isFinite) else { throw AdapterFormatError.notFinite(file: file.path, name: name) }
        return values
    }

    /// The JSON under a metadata key; nil where the file has no such key.
    static func metadata<Value: Decodable>(_ key: String, of file: SafetensorsFile) throws(AdapterFormatError) -> Value? {
        guard let text = file.metadata[key] else { return nil }
        do {
            return try JSONDecoder().decode(Value.self, from: Data(text.utf8))
        } catch {
            throw .badMetadata(file: file.path, key: key, reason: "\(error)")
        }
    }

    /// Writes a base: matrices and tunable values under their reference names, shape and card in the metadata.
    /// - Parameters:
    ///   - matrix: values of a frozen tensor by its name.
    ///   - type: `.bf16` halves the matrices; vector and class table stay float32.
    package static func write(
        to path: String, _ configuration: DiTConfiguration, card: BaseCard, vector: TunableVector, classes: ClassTable, as type: ElementType,
        matrix: (String) -> [Float]
    ) throws {
        let layout = TunableLayout(configuration)
        var tensors = configuration.frozenTensors.map { OutgoingTensor($0.name, shape: $0.shape, matrix($0.name), as: type) }
        for tensor in layout.tensors where tensor.kind == .bias {
            tensors.append(OutgoingTensor(tensor.name, shape: tensor.shape, Array(vector.values[tensor.range])))
        }
        tensors.append(OutgoingTensor(TunableLayout.classTableName, shape: [classes.rows, classes.width], classes.values))
        let metadata = ["config": try sortedJSON(configuration), "card": try sortedJSON(card), "format": "pt"]
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
    /// SHA-256 of a whole file, a piece at a time.
    package init(of file: MappedFile) {
        var hash = SHA256()
        let piece = 1 << 20
        for start in stride(from: 0, to: file.count, by: piece) {
            hash.update(data: file.bytes(start..<min(file.count, start + piece)))
        }
        self.init(hash.finalize())
    }
}
