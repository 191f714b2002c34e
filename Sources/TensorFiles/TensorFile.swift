/// Named tensors in a file of any container that weights are published in, mapped: opening checks what the file says of
/// itself, and a tensor's bytes are touched when it is asked for.
///
/// A table and no more: each entry says where its elements lie. Renaming and stacking tensors makes another table.
public struct TensorFile: Sendable {
    /// As it was opened; of a folder, the file of weights in it.
    public let path: String
    /// safetensors' `__metadata__`; empty for other containers.
    public let metadata: [String: String]
    /// In the file's order.
    public let entries: [TensorEntry]
    /// The key of a torch dictionary that the tensors come from, such as "ema".
    package let section: String?
    /// What a checkpoint says of the run that wrote it, such as `num_classes`: the plain numbers and texts of its `args`.
    package let arguments: [String: String]
    private let indexByName: [String: Int]

    /// Another table, for example with other names, over bytes that are mapped already. The names must differ.
    package init(
        path: String, metadata: [String: String] = [:], entries: [TensorEntry], section: String? = nil, arguments: [String: String] = [:]
    ) {
        self.path = path
        self.metadata = metadata
        self.entries = entries
        self.section = section
        self.arguments = arguments
        indexByName = Dictionary(uniqueKeysWithValues: entries.enumerated().map { ($1.name, $0) })
    }

    /// Opens safetensors, torch's `.pt` or `.bin` (zip or legacy) or NumPy's `.npz`, told by content, the `.index.json` of a sharded
    /// file, or a folder with a model's weights as diffusers and transformers name them. The names are the model's own, without those
    /// of wrappers such as `module.`; of a torch dictionary with averages (`ema`) these are taken.
    ///
    /// The file is mapped, not read: its size costs no memory until values are asked for.
    /// - Throws: `TensorFileError`, with the name, number or shape at fault. No code of a pickle runs.
    public init(path: String) throws(TensorFileError) {
        let file = try WeightsFolder.isFolder(path) ? WeightsFolder.file(in: path) : path
        self = try (ShardIndex.isIndex(file) ? ShardIndex.open(file) : TensorFile(asStored: MappedFile(path: file))).unwrapped()
    }

    package init(_ file: MappedFile) throws(TensorFileError) { self = try TensorFile(asStored: file).unwrapped() }

    /// With the names that stand in the file.
    init(asStored file: MappedFile) throws(TensorFileError) {
        switch Container(file) {
        case .safetensors: self = try SafetensorsHeader.open(file)
        case .torchArchive: self = try TorchArchive.open(file)
        case .torchLegacy: self = try TorchLegacy.open(file)
        case .numpyArchive: self = try NumPyArchive.open(file)
        case .other(let what): throw .otherContainer(path: file.path, what: what)
        case .unknown: throw .unknownContainer(path: file.path)
        }
    }

    /// A file that has become shorter since it was mapped, so that reading the tensors would end in SIGBUS.
    package var cutFile: String? {
        var last: MappedFile?
        for part in entries.lazy.flatMap(\.parts) where part.file !== last {
            guard part.file.isWhole else { return part.file.path }
            last = part.file
        }
        return nil
    }

    /// The tensor of a name; nil where there is none.
    public subscript(_ name: String) -> TensorEntry? { indexByName[name].map { entries[$0] } }

    /// The tensor of a name.
    /// - Throws: `noTensor`.
    public func entry(_ name: String) throws(TensorFileError) -> TensorEntry {
        guard let entry = self[name] else { throw .noTensor(path: path, name: name) }
        return entry
    }

    /// The values in row-major order as float32, converted where the file holds another floating-point type.
    /// - Throws: `noTensor`; `wrongType` for integers and types that scale or pack their elements.
    public func floats(_ name: String) throws(TensorFileError) -> [Float] {
        let entry = try entry(name)
        guard entry.dtype.isFloatingPoint else {
            throw .wrongType(path: path, name: name, type: entry.dtype.rawValue, wanted: "a floating-point type")
        }
        return entry.floats(0..<entry.count)
    }

    /// The values in row-major order as integers.
    /// - Throws: `noTensor`; `wrongType` for floating-point types and numbers from 2^63.
    public func integers(_ name: String) throws(TensorFileError) -> [Int] {
        let entry = try entry(name)
        let all = 0..<entry.count
        switch entry.dtype {
        case .i64: return entry.elements(all, of: Int64.self) { Int($0) }
        case .i32: return entry.elements(all, of: Int32.self) { Int($0) }
        case .i16: return entry.elements(all, of: Int16.self) { Int($0) }
        case .i8: return entry.elements(all, of: Int8.self) { Int($0) }
        case .u32: return entry.elements(all, of: UInt32.self) { Int($0) }
        case .u16: return entry.elements(all, of: UInt16.self) { Int($0) }
        case .u8, .bool: return entry.elements(all, of: UInt8.self) { Int($0) }
        case .u64:
            let values = entry.elements(all, of: UInt64.self) { $0 }
            guard values.allSatisfy({ $0 <= UInt64(Int.max) }) else { throw .wrongType(path: path, name: name, type: "U64", wanted: "a number below 2^63") }
            return values.map { Int($0) }
        default: throw .wrongType(path: path, name: name, type: entry.dtype.rawValue, wanted: "an integer type")
        }
    }
}
