/// torch's container before 1.6: pickles of a magic number, a version, the writer's system, the object and the storages' keys,
/// then for each key a count and the bytes.
enum TorchLegacy {
    /// How the pickle of the magic number begins in protocols 0 and 1, where it is a line of digits.
    static let textMagic = Array("L119547037146038801333356L".utf8)

    static func open(_ file: MappedFile) throws(TensorFileError) -> TensorFile {
        // A first pickle that is something else, or none at all, makes it no file of torch's.
        let magic: Pickle
        do { magic = try Pickle(file, 0..<file.count) } catch { throw notTorch(file) }
        guard case .magic = magic.root else { throw notTorch(file) }
        let version = try Pickle(file, magic.end..<file.count)
        guard case .integer(1001) = version.root else { throw fault(file, version.end, "its version is not 1001") }
        let system = try Pickle(file, version.end..<file.count)
        try checkByteOrder(system, file)
        let object = try Pickle(file, system.end..<file.count)
        let keys = try Pickle(file, object.end..<file.count)
        let ranges = try storages(keys, of: object, file)
        return try StateDictionary(object, path: file.path).file(file) { storage throws(TensorFileError) in
            guard let range = ranges[storage.key] else { throw fault(file, keys.end, "there is no storage '\(storage.key)'") }
            return range
        }
    }

    private static func notTorch(_ file: MappedFile) -> TensorFileError {
        .otherContainer(path: file.path, what: "a Python pickle that torch.save did not write, such as numpy's or joblib's; load it there and save its tensors")
    }

    private static func fault(_ file: MappedFile, _ at: Int, _ reason: String) -> TensorFileError { .badPickle(path: file.path, at: at, reason: reason) }

    private static func checkByteOrder(_ system: Pickle, _ file: MappedFile) throws(TensorFileError) {
        guard case .dictionary(let index) = system.root else { throw fault(file, system.end, "it does not say which system wrote it") }
        for item in system.dictionaries[index] {
            guard case (.text("little_endian"), .bool(false)) = (item.key, item.value) else { continue }
            throw fault(file, system.end, "a big-endian machine wrote it")
        }
    }

    private static func storages(_ keys: Pickle, of object: Pickle, _ file: MappedFile) throws(TensorFileError) -> [String: Range<Int>] {
        guard case .sequence(let index) = keys.root else { throw fault(file, keys.end, "it has no list of storages") }
        let sizes = Dictionary(object.storages.map { ($0.key, DType(torch: $0.type)?.size) }, uniquingKeysWith: { first, _ in first })
        var ranges: [String: Range<Int>] = [:]
        var reader = ByteReader(file, keys.end..<file.count)
        for key in keys.sequences[index] {
            guard case .text(let key) = key, let known = sizes[key], let size = known else {
                throw fault(file, reader.position, "a storage has no key, or no type of a known size")
            }
            guard let count = reader.number(Int64.self).map(Int.init) else { throw fault(file, reader.position, "it ends before the storage '\(key)'") }
            let (bytes, overflow) = count.multipliedReportingOverflow(by: size)
            guard !overflow, let range = reader.take(bytes) else {
                throw fault(file, reader.position, "the storage '\(key)' of \(count, "element") reaches beyond the end")
            }
            ranges[key] = range
        }
        return ranges
    }
}
