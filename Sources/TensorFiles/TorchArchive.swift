/// torch's container since 1.6: a zip archive with one pickle, `data.pkl`, and a member `data/<key>` for each storage.
enum TorchArchive {
    static func open(_ file: MappedFile) throws(TensorFileError) -> TensorFile {
        let directory = try ZipDirectory(file)
        let members = directory.members
        if let other = kind(members.keys + directory.compressed) { throw .otherContainer(path: file.path, what: other) }
        if let name = directory.compressed.min() {
            throw .badArchive(path: file.path, reason: "'\(name)' is compressed; torch stores without compression, so it was packed anew")
        }
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
            let (needed, overflow) = storage.count.multipliedReportingOverflow(by: DType(torch: storage.type)?.size ?? 1)
            guard storage.count >= 0, !overflow, needed <= range.count else {
                throw .badArchive(
                    path: file.path, reason: "the storage '\(storage.key)' has \(range.count, "byte"), too few for \(storage.count) of \(storage.type)")
            }
            return range.lowerBound..<(range.lowerBound + needed)
        }
    }

    /// What an archive is that is none of weights, by the names in it.
    private static func kind(_ names: [String]) -> String? {
        let parts = Set(names.map { String($0.split(separator: "/").last ?? "") })
        if parts.contains("constants.pkl") || names.contains(where: { $0.contains("/code/") }) {
            return "a TorchScript program (torch.jit.save): load it in torch and save its state_dict()"
        }
        if names.contains(where: { $0.contains("/data.pkl") }) { return nil }
        if parts.contains("model.json") || parts.contains("archive_format") {
            return "a program that torch.export saved: save the module's state_dict() instead"
        }
        guard let first = names.min() else { return "a zip archive with nothing in it" }
        return "a zip archive with \(names.count, "file"), such as '\(first)', and not what torch saves: unpack it and give the file of weights"
    }
}
