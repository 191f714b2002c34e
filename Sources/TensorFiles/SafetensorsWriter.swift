import Foundation

/// A tensor on its way to a file.
package struct OutgoingTensor: Sendable {
    package let name: String
    package let type: ElementType
    package let shape: [Int]
    let bytes: Data

    /// Floats, stored as F32, BF16 or F16 (nearest, ties to even).
    package init(_ name: String, shape: [Int], _ values: [Float], as type: ElementType = .f32) {
        precondition(shape.reduce(1, *) == values.count, "'\(name)': \(values.count) values for shape \(shape)")
        (self.name, self.type, self.shape) = (name, type, shape)
        switch type {
        case .f32: bytes = littleEndian(values.map(\.bitPattern))
        case .bf16: bytes = littleEndian(values.map(BFloat16.bits))
        case .f16: bytes = littleEndian(values.map { Float16($0).bitPattern })
        default: preconditionFailure("floats are stored as F32, BF16 or F16, not \(type.rawValue)")
        }
    }

    /// Integers, stored as I64.
    package init(_ name: String, shape: [Int], integers: [Int]) {
        precondition(shape.reduce(1, *) == integers.count, "'\(name)': \(integers.count) values for shape \(shape)")
        (self.name, type, self.shape) = (name, .i64, shape)
        bytes = littleEndian(integers.map { UInt64(bitPattern: Int64($0)) })
    }
}

private func littleEndian<Word: FixedWidthInteger>(_ words: [Word]) -> Data {
    var data = Data(capacity: words.count * MemoryLayout<Word>.size)
    for word in words {
        var rest = word
        for _ in 0..<MemoryLayout<Word>.size {
            data.append(UInt8(truncatingIfNeeded: rest))
            rest = MemoryLayout<Word>.size == 1 ? 0 : rest >> 8
        }
    }
    return data
}

/// Writes safetensors: the same tensors and metadata always give the same bytes, data start on a cache line, and a file
/// appears whole or not at all.
package enum SafetensorsWriter {
    package static func write(_ tensors: [OutgoingTensor], metadata: [String: String] = [:], to path: String) throws(TensorFileError) {
        let data = encoded(tensors, metadata: metadata)
        let temporary = path + ".\(ProcessInfo.processInfo.processIdentifier).partial"
        do {
            try data.write(to: URL(filePath: temporary))
            let handle = try FileHandle(forWritingTo: URL(filePath: temporary))
            try handle.synchronize()
            try handle.close()
        } catch {
            try? FileManager.default.removeItem(atPath: temporary)
            throw .unwritable(path: path, reason: error.localizedDescription)
        }
        guard unsafe rename(temporary, path) == 0 else {
            let reason = unsafe String(cString: strerror(errno))
            try? FileManager.default.removeItem(atPath: temporary)
            throw .unwritable(path: path, reason: reason)
        }
        syncDirectory(of: path)
    }

    /// The bytes of the file. Wider types come first, so that every tensor is aligned to its own elements.
    package static func encoded(_ tensors: [OutgoingTensor], metadata: [String: String] = [:]) -> Data {
        let ordered = tensors.enumerated().sorted { ($1.element.type.size, $0.offset) < ($0.element.type.size, $1.offset) }.map(\.element)
        var members: [String] = []
        if !metadata.isEmpty {
            members.append("\"__metadata__\":{" + metadata.sorted { $0.key < $1.key }.map { "\(quoted($0.key)):\(quoted($0.value))" }.joined(separator: ",") + "}")
        }
        var end = 0
        for tensor in ordered {
            let shape = tensor.shape.map(String.init).joined(separator: ",")
            members.append(
                "\(quoted(tensor.name)):{\"dtype\":\"\(tensor.type.rawValue)\",\"shape\":[\(shape)],\"data_offsets\":[\(end),\(end + tensor.bytes.count)]}")
            end += tensor.bytes.count
        }
        var header = Data("{\(members.joined(separator: ","))}".utf8)
        while (header.count + 8) % 64 != 0 { header.append(0x20) }
        var data = littleEndian([UInt64(header.count)])
        data.append(header)
        for tensor in ordered { data.append(tensor.bytes) }
        return data
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

    /// Makes the rename itself last through a power cut.
    private static func syncDirectory(of path: String) {
        let descriptor = unsafe open(URL(filePath: path).deletingLastPathComponent().path(percentEncoded: false), O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }
}
