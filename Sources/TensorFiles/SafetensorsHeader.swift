/// A checked header: what it says is true of the file before any tensor is touched.
struct SafetensorsHeader {
    /// The format's own limit.
    static let longest = 100_000_000

    private var metadata: [String: String] = [:]
    /// In the order of their bytes.
    private var entries: [TensorEntry] = []

    static func open(_ file: MappedFile) throws(TensorFileError) -> TensorFile {
        guard file.count >= 8 else { throw .tooShort(path: file.path, bytes: file.count) }
        let length = file.number(UInt64.self, at: 0)
        guard length <= UInt64(min(longest, file.count - 8)) else {
            throw .headerTooLong(path: file.path, header: length, bytes: file.count)
        }
        let header = try SafetensorsHeader(file, dataStart: 8 + Int(length))
        return TensorFile(path: file.path, metadata: header.metadata, entries: header.entries)
    }

    private init(_ file: MappedFile, dataStart: Int) throws(TensorFileError) {
        let path = file.path
        let fileCount = file.count
        var metadata: [String: String]?
        var found: [Described] = []
        var names: Set<String> = []
        var scanner = HeaderScanner(file.bytes(8..<dataStart), path: path)
        try scanner.object { (name, scanner) throws(TensorFileError) in
            guard names.insert(name).inserted else { throw .duplicateName(path: path, name: name) }
            if name == "__metadata__" {
                // The format's own writer leaves it out where there is none; others write null.
                if try !scanner.acceptNull() { metadata = try SafetensorsHeader.readMetadata(&scanner, path: path) }
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
            var size = 1
            for side in tensor.shape + [tensor.type.bits] {
                let (product, overflow) = size.multipliedReportingOverflow(by: side)
                size = overflow ? -1 : product
                if overflow { break }
            }
            guard size >= 0, size.isMultiple(of: 8), size / 8 == tensor.end - tensor.begin else {
                throw .wrongSize(path: path, name: tensor.name, shape: tensor.shape, type: tensor.type.rawValue, bytes: tensor.end - tensor.begin)
            }
            end = tensor.end
            let part = TensorPart(file: file, offset: dataStart + tensor.begin, shape: tensor.shape)
            entries.append(TensorEntry(name: tensor.name, type: tensor.type, shape: tensor.shape, parts: [part]))
        }
        guard end == fileCount - dataStart else { throw .trailingBytes(path: path, described: end, present: fileCount - dataStart) }
        self.metadata = metadata ?? [:]
    }

    /// A tensor as the header describes it, its bytes counted from the first one's on.
    private struct Described {
        let name: String
        let type: DType
        let shape: [Int]
        let begin, end: Int
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
    ) throws(TensorFileError) -> Described {
        var type: DType?
        var shape: [Int]?
        var offsets: [Int]?
        try scanner.object { (key, scanner) throws(TensorFileError) in
            switch key {
            case "dtype" where type == nil:
                let text = try scanner.string()
                guard let known = DType(rawValue: text) else { throw .unknownType(path: path, name: name, type: text) }
                type = known
            case "shape" where shape == nil: shape = try scanner.integers()
            case "data_offsets" where offsets == nil: offsets = try scanner.integers()
            default: throw scanner.fault("one each of dtype, shape and data_offsets for '\(name)', not '\(key)'")
            }
        }
        guard let type, let shape, let offsets, offsets.count == 2 else {
            throw scanner.fault("dtype, shape and two data_offsets for '\(name)'")
        }
        return Described(name: name, type: type, shape: shape, begin: offsets[0], end: offsets[1])
    }
}
