/// Named tensors in a file of any container that weights are published in, mapped: opening checks what the file says of
/// itself, and a tensor's bytes are touched when it is asked for.
///
/// A table and no more: each entry says where its elements lie. Renaming and stacking tensors makes another table.
package struct TensorFile: Sendable {
    package let path: String
    package let metadata: [String: String]
    /// In the file's order.
    package let entries: [TensorEntry]
    /// The key of a torch dictionary that the tensors come from, such as "ema".
    package let section: String?
    private let indexByName: [String: Int]

    /// Another table, for example with other names, over bytes that are mapped already. The names must differ.
    package init(path: String, metadata: [String: String] = [:], entries: [TensorEntry], section: String? = nil) {
        self.path = path
        self.metadata = metadata
        self.entries = entries
        self.section = section
        indexByName = Dictionary(uniqueKeysWithValues: entries.enumerated().map { ($1.name, $0) })
    }

    /// Opens safetensors, torch's `.pt` or `.bin` (zip or legacy), told by content, or the `.index.json` of a sharded one.
    package init(path: String) throws(TensorFileError) {
        if path.hasSuffix(".index.json") {
            self = try ShardIndex.open(path)
        } else {
            try self.init(MappedFile(path: path))
        }
    }

    package init(_ file: MappedFile) throws(TensorFileError) {
        let start = file.bytes(0..<min(9, file.count))
        if start.count < 9 || start[8] == UInt8(ascii: "{") {
            self = try SafetensorsHeader.open(file)
        } else if start.starts(with: [0x50, 0x4b, 0x03, 0x04]) {
            self = try TorchArchive.open(file)
        } else if start[0] == 0x80 {
            self = try TorchLegacy.open(file)
        } else {
            throw .unknownContainer(path: file.path)
        }
    }

    package subscript(_ name: String) -> TensorEntry? { indexByName[name].map { entries[$0] } }

    package func entry(_ name: String) throws(TensorFileError) -> TensorEntry {
        guard let entry = self[name] else { throw .noTensor(path: path, name: name) }
        return entry
    }

    /// The values in row-major order as float32, converted where the file holds another floating-point type.
    package func floats(_ name: String) throws(TensorFileError) -> [Float] {
        let entry = try entry(name)
        guard entry.type.isFloatingPoint else {
            throw .wrongType(path: path, name: name, type: entry.type.rawValue, wanted: "a floating-point type")
        }
        return entry.floats(0..<entry.count)
    }

    /// The values in row-major order as integers.
    package func integers(_ name: String) throws(TensorFileError) -> [Int] {
        let entry = try entry(name)
        let all = 0..<entry.count
        switch entry.type {
        case .i64: return entry.elements(all, of: Int64.self) { Int($0) }
        case .i32: return entry.elements(all, of: Int32.self) { Int($0) }
        case .i16: return entry.elements(all, of: Int16.self) { Int($0) }
        case .i8: return entry.elements(all, of: Int8.self) { Int($0) }
        case .u8, .bool: return entry.elements(all, of: UInt8.self) { Int($0) }
        default: throw .wrongType(path: path, name: name, type: entry.type.rawValue, wanted: "an integer type")
        }
    }
}

