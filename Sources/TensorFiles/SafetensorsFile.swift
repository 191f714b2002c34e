import Foundation

/// A safetensors file, mapped: opening reads and checks the header, tensors are touched when asked for.
package struct SafetensorsFile: Sendable {
    package let file: MappedFile
    package let metadata: [String: String]
    /// In the order of their bytes.
    package let entries: [TensorEntry]
    private let indexByName: [String: Int]

    package init(path: String) throws(TensorFileError) { try self.init(MappedFile(path: path)) }

    package init(_ file: MappedFile) throws(TensorFileError) {
        self.file = file
        let path = file.path
        guard file.count >= 8 else { throw .tooShort(path: path, bytes: file.count) }
        let length = file.bytes(0..<8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard length <= UInt64(min(SafetensorsHeader.longest, file.count - 8)) else {
            throw .headerTooLong(path: path, header: length, bytes: file.count)
        }
        let start = 8 + Int(length)
        let header = try SafetensorsHeader(file.bytes(8..<start), path: path, dataStart: start, fileCount: file.count)
        metadata = header.metadata
        entries = header.entries
        indexByName = Dictionary(uniqueKeysWithValues: header.entries.enumerated().map { ($1.name, $0) })
    }

    package var path: String { file.path }

    package subscript(_ name: String) -> TensorEntry? { indexByName[name].map { entries[$0] } }

    package func entry(_ name: String) throws(TensorFileError) -> TensorEntry {
        guard let entry = self[name] else { throw .noTensor(path: path, name: name) }
        return entry
    }

    /// The values as float32, converted where the file holds another floating-point type.
    package func floats(_ name: String) throws(TensorFileError) -> [Float] {
        let entry = try entry(name)
        switch entry.type {
        case .f32: return file.elements(entry.range, of: Float.self) { $0 }
        case .bf16: return file.elements(entry.range, of: UInt16.self, convert: BFloat16.value)
        case .f16: return file.elements(entry.range, of: UInt16.self) { Float(Float16(bitPattern: $0)) }
        case .f64: return file.elements(entry.range, of: Double.self) { Float($0) }
        default: throw .wrongType(path: path, name: name, type: entry.type.rawValue, wanted: "a floating-point type")
        }
    }

    /// The values as integers.
    package func integers(_ name: String) throws(TensorFileError) -> [Int] {
        let entry = try entry(name)
        switch entry.type {
        case .i64: return file.elements(entry.range, of: Int64.self) { Int($0) }
        case .i32: return file.elements(entry.range, of: Int32.self) { Int($0) }
        case .i16: return file.elements(entry.range, of: Int16.self) { Int($0) }
        case .i8: return file.elements(entry.range, of: Int8.self) { Int($0) }
        case .u8, .bool: return file.elements(entry.range, of: UInt8.self) { Int($0) }
        default: throw .wrongType(path: path, name: name, type: entry.type.rawValue, wanted: "an integer type")
        }
    }
}
