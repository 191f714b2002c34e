/// One tensor of a file: its name, form, and where its bytes lie after the header.
package struct TensorEntry: Sendable, Hashable {
    package let name: String
    package let type: ElementType
    package let shape: [Int]
    /// Bytes in the whole file.
    package let range: Range<Int>

    package var count: Int { range.count / type.size }
}

/// A checked header: what it says is true of the file before any tensor is touched.
struct SafetensorsHeader {
    /// The format's own limit.
    static let longest = 100_000_000

    var metadata: [String: String] = [:]
    /// In the order of their bytes.
    var entries: [TensorEntry] = []

    /// - Parameters:
    ///   - bytes: the header's JSON.
    ///   - dataStart: where data begin in the file.
    ///   - fileCount: bytes of the file.
    init(_ bytes: [UInt8], path: String, dataStart: Int, fileCount: Int) throws(TensorFileError) {
        var metadata: [String: String]?
        var found: [(name: String, type: ElementType, shape: [Int], begin: Int, end: Int)] = []
        var names: Set<String> = []
        var scanner = HeaderScanner(bytes, path: path)
        try scanner.object { (name, scanner) throws(TensorFileError) in
            guard names.insert(name).inserted else { throw .duplicateName(path: path, name: name) }
            if name == "__metadata__" {
                metadata = try SafetensorsHeader.readMetadata(&scanner, path: path)
            } else {
                found.append(try SafetensorsHeader.readTensor(name, &scanner, path: path))
            }
        }
        try scanner.expectEnd()

        var end = 0
        for tensor in found.sorted(by: { ($0.begin, $0.end, $0.name) < ($1.begin, $1.end, $1.name) }) {
            guard tensor.begin == end, tensor.end >= tensor.begin, tensor.end <= fileCount - dataStart else {
                throw .badOffsets(path: path, name: tensor.name, begin: tensor.begin, end: tensor.end, expected: end)
            }
            var size = tensor.type.size
            for side in tensor.shape {
                let (product, overflow) = size.multipliedReportingOverflow(by: side)
                size = overflow ? -1 : product
                if overflow { break }
            }
            guard size == tensor.end - tensor.begin else {
                throw .wrongSize(path: path, name: tensor.name, shape: tensor.shape, type: tensor.type.rawValue, bytes: tensor.end - tensor.begin)
            }
            end = tensor.end
            let range = (dataStart + tensor.begin)..<(dataStart + tensor.end)
            entries.append(TensorEntry(name: tensor.name, type: tensor.type, shape: tensor.shape, range: range))
        }
        guard end == fileCount - dataStart else { throw .trailingBytes(path: path, described: end, present: fileCount - dataStart) }
        self.metadata = metadata ?? [:]
    }

    private static func readMetadata(_ scanner: inout HeaderScanner, path: String) throws(TensorFileError) -> [String: String] {
        var metadata: [String: String] = [:]
        try scanner.object { (key, scanner) throws(TensorFileError) in
            guard metadata.updateValue(try scanner.string(), forKey: key) == nil else { throw .duplicateName(path: path, name: key) }
        }
        return metadata
    }

    private static func readTensor(
        _ name: String, _ scanner: inout HeaderScanner, path: String
    ) throws(TensorFileError) -> (name: String, type: ElementType, shape: [Int], begin: Int, end: Int) {
        var type: ElementType?
        var shape: [Int]?
        var offsets: [Int]?
        try scanner.object { (key, scanner) throws(TensorFileError) in
            switch key {
            case "dtype" where type == nil:
                let text = try scanner.string()
                guard let known = ElementType(rawValue: text) else { throw .unknownType(path: path, name: name, type: text) }
                type = known
            case "shape" where shape == nil: shape = try scanner.integers()
            case "data_offsets" where offsets == nil: offsets = try scanner.integers()
            default: throw scanner.fault("one each of dtype, shape and data_offsets for '\(name)', not '\(key)'")
            }
        }
        guard let type, let shape, let offsets, offsets.count == 2 else {
            throw scanner.fault("dtype, shape and two data_offsets for '\(name)'")
        }
        return (name, type, shape, offsets[0], offsets[1])
    }
}
