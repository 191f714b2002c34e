import Foundation

/// Weights in several files of one folder, as an `.index.json` lists them: `weight_map` from tensor to file.
enum ShardIndex {
    private struct Content: Decodable {
        let weight_map: [String: String]
    }

    /// An index names each tensor once; a thousand of them take less than 0.1 MB.
    private static let longest = 1 << 24

    /// By name: `model.safetensors.index.json`, or with a variant in it (`index.fp16.json`).
    static func isIndex(_ path: String) -> Bool { path.hasSuffix(".json") && URL(filePath: path).lastPathComponent.contains(".index.") }

    static func open(_ path: String) throws(TensorFileError) -> TensorFile {
        let file = try MappedFile(path: path)
        guard file.count <= longest else { throw .badIndex(path: path, reason: "it has \(file.count, "byte"); \(longest) at most are read") }
        let content: Content
        do {
            content = try JSONDecoder().decode(Content.self, from: Data(file.bytes(0..<file.count)).withoutByteOrderMark)
        } catch {
            throw .badIndex(path: path, reason: "it is no JSON object with a 'weight_map' from tensor to file")
        }
        let folder = URL(filePath: path).deletingLastPathComponent()
        var entries: [TensorEntry] = []
        for name in Set(content.weight_map.values).sorted() {
            guard !name.isEmpty, !name.contains("/"), !name.utf8.contains(0), !isIndex(name) else {
                throw .badIndex(path: path, reason: "'\(name)' is not a file of the same folder")
            }
            let shard = try TensorFile(asStored: MappedFile(path: folder.appending(path: name).path(percentEncoded: false)))
            // What the index does not list, or lists elsewhere, is not part of the model.
            entries += shard.entries.filter { content.weight_map[$0.name] == name }
        }
        let found = Set(entries.map(\.name))
        if let missing = content.weight_map.keys.filter({ !found.contains($0) }).min() {
            throw .badIndex(path: path, reason: "'\(missing)' is not in '\(content.weight_map[missing] ?? "")'")
        }
        return TensorFile(path: path, entries: entries)
    }
}
