import Foundation
import SystemIO

/// A tensor on its way to a file: its bytes are made piece by piece when they are written.
public struct OutgoingTensor: Sendable {
    package let name: String
    package let type: DType
    package let shape: [Int]
    /// The bytes of elements in row-major order.
    let bytes: @Sendable (Range<Int>) -> [UInt8]

    var count: Int { shape.reduce(1, *) }
    var byteCount: Int { count * type.size }

    /// Floats, stored as F32, BF16 or F16 (nearest, ties to even).
    /// - Parameters:
    ///   - shape: sides, the slowest first; their product is the number of values.
    ///   - values: in row-major order.
    public init(_ name: String, shape: [Int], _ values: [Float], as type: DType = .f32) {
        precondition(shape.reduce(1, *) == values.count, "'\(name)': \(values.count) values for shape \(shape)")
        self.init(name, shape: shape, as: type) { Array(values[$0]) }
    }

    /// Floats that are made when they are written.
    package init(_ name: String, shape: [Int], as type: DType, values: @escaping @Sendable (Range<Int>) -> [Float]) {
        switch type {
        case .f32: self.init(name, type, shape) { TensorFiles.bytes(of: values($0)) }
        case .bf16: self.init(name, type, shape) { TensorFiles.bytes(of: values($0).map(BFloat16.bits)) }
        case .f16: self.init(name, type, shape) { TensorFiles.bytes(of: values($0).map { Float16($0).bitPattern }) }
        default: preconditionFailure("floats are stored as F32, BF16 or F16, not \(type.rawValue)")
        }
    }

    init(_ name: String, _ type: DType, _ shape: [Int], bytes: @escaping @Sendable (Range<Int>) -> [UInt8]) {
        (self.name, self.type, self.shape, self.bytes) = (name, type, shape, bytes)
    }

    /// A tensor of another file, which may lie there in any order; its elements are floats.
    package init(_ entry: TensorEntry, named name: String? = nil, as type: DType) {
        if entry.dtype == type, let mapped = entry.mapped {
            let (start, size) = (mapped.range.lowerBound, type.size)
            self.init(name ?? entry.name, type, entry.shape) {
                mapped.file.bytes((start + $0.lowerBound * size)..<(start + $0.upperBound * size))
            }
        } else {
            self.init(name ?? entry.name, shape: entry.shape, as: type) { entry.floats($0) }
        }
    }

    /// Integers, stored as I64.
    /// - Parameter integers: in row-major order.
    public init(_ name: String, shape: [Int], integers: [Int]) {
        precondition(shape.reduce(1, *) == integers.count, "'\(name)': \(integers.count) values for shape \(shape)")
        self.init(name, .i64, shape) { TensorFiles.bytes(of: integers[$0].map(Int64.init)) }
    }
}

/// The bytes of a safetensors file, a piece at a time: the same tensors and metadata always give the same bytes, and data
/// start on a cache line.
package struct SafetensorsEncoding: Sendable {
    private let header: [UInt8]
    private let tensors: [OutgoingTensor]

    /// Wider types come first, so that every tensor is aligned to its own elements.
    package init(_ tensors: [OutgoingTensor], metadata: [String: String] = [:]) {
        self.tensors = tensors.enumerated().sorted { ($1.element.type.size, $0.offset) < ($0.element.type.size, $1.offset) }.map(\.element)
        var members: [String] = []
        if !metadata.isEmpty {
            members.append(
                "\"__metadata__\":{" + metadata.sorted { $0.key < $1.key }.map { "\(Self.quoted($0.key)):\(Self.quoted($0.value))" }.joined(separator: ",")
                    + "}")
        }
        var end = 0
        for tensor in self.tensors {
            let shape = tensor.shape.map(String.init).joined(separator: ",")
            members.append(
                "\(Self.quoted(tensor.name)):{\"dtype\":\"\(tensor.type.rawValue)\",\"shape\":[\(shape)],\"data_offsets\":[\(end),\(end + tensor.byteCount)]}")
            end += tensor.byteCount
        }
        var text = Array("{\(members.joined(separator: ","))}".utf8)
        while (text.count + 8) % 64 != 0 { text.append(0x20) }
        header = bytes(of: [UInt64(text.count)]) + text
    }

    package var pieces: some Sequence<[UInt8]> {
        let data = tensors.lazy.flatMap { tensor in TensorEntry.pieces(of: tensor.count).lazy.map { tensor.bytes($0) } }
        return AnySequence { [AnySequence(CollectionOfOne(header)), AnySequence(data)].joined().makeIterator() }
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

/// Writes safetensors files.
public enum SafetensorsWriter {
    /// Writes a file whole or not at all: what was there stays until the new bytes are on the disk. The same tensors and metadata always
    /// give the same bytes.
    /// - Throws: `TensorFileError.unwritable`.
    public static func write(_ tensors: [OutgoingTensor], metadata: [String: String] = [:], to path: String) throws(TensorFileError) {
        try write(SafetensorsEncoding(tensors, metadata: metadata), to: path)
    }

    package static func write(_ encoding: SafetensorsEncoding, to path: String) throws(TensorFileError) {
        do throws(SystemError) { try OutputFile(path).write(encoding.pieces, durably: true) } catch { throw .unwritable(path: path, reason: error) }
    }

    /// The bytes of the file.
    package static func encoded(_ tensors: [OutgoingTensor], metadata: [String: String] = [:]) -> Data {
        SafetensorsEncoding(tensors, metadata: metadata).pieces.reduce(into: Data()) { $0.append(contentsOf: $1) }
    }
}
