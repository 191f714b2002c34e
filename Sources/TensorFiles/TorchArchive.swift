/// torch's container since 1.6: a zip archive with one pickle, `data.pkl`, and a member `data/<key>` for each storage.
enum TorchArchive {
    static func open(_ file: MappedFile) throws(TensorFileError) -> TensorFile {
        let members = try ZipDirectory(file).members
        let suffix = "/data.pkl"
        let pickles = members.keys.filter { $0.hasSuffix(suffix) }
        guard let name = pickles.first, pickles.count == 1, let range = members[name] else {
            throw .badArchive(path: file.path, reason: "it has \(pickles.count) members '*/data.pkl'; a file that torch saved has one")
        }
        let folder = name.dropLast(suffix.count)
        if let order = members["\(folder)/byteorder"], order.count <= 16, file.bytes(order) != Array("little".utf8) {
            throw .badArchive(path: file.path, reason: "its byte order is '\(String(decoding: file.bytes(order), as: UTF8.self))', not 'little'")
        }
        return try StateDictionary(Pickle(file, range), path: file.path).file(file) { storage throws(TensorFileError) in
            guard let range = members["\(folder)/data/\(storage.key)"] else {
                throw .badArchive(path: file.path, reason: "it has no storage '\(storage.key)'")
            }
            let (needed, overflow) = storage.count.multipliedReportingOverflow(by: ElementType(torch: storage.type)?.size ?? 1)
            guard storage.count >= 0, !overflow, needed <= range.count else {
                throw .badArchive(path: file.path, reason: "the storage '\(storage.key)' has \(range.count) bytes, too few for \(storage.count) of \(storage.type)")
            }
            return range.lowerBound..<(range.lowerBound + needed)
        }
    }
}
