import Foundation

/// A folder with a model's weights, as diffusers and transformers name their files.
package enum WeightsFolder {
    package static func isFolder(_ path: String) -> Bool {
        (try? URL(filePath: path).resourceValues(forKeys: [.isDirectoryKey]))?.isDirectory ?? false
    }

    /// The file of weights in a folder: without a variant (`fp16`, `ema`) before one, safetensors before `.bin`, whole
    /// before sharded.
    static func file(in folder: String) throws(TensorFileError) -> String {
        let stems = ["diffusion_pytorch_model", "model", "pytorch_model"]
        let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
        var best: (rank: [Int], name: String)?
        for name in names {
            guard let stem = stems.firstIndex(where: { name.hasPrefix($0 + ".") }) else { continue }
            let parts = name.dropFirst(stems[stem].count + 1).split(separator: ".").map(String.init)
            let isIndex = parts.last == "json" && parts.contains("index")
            guard isIndex || ["safetensors", "bin"].contains(parts.last), !name.contains("-of-") else { continue }
            let variant = parts.filter { !["safetensors", "bin", "index", "json"].contains($0) }
            guard variant.count <= 1 else { continue }
            let rank = [stem, variant.isEmpty ? 0 : variant == ["fp16"] ? 1 : 2, parts.contains("safetensors") ? 0 : 1, isIndex ? 1 : 0]
            if best.map({ rank.lexicographicallyPrecedes($0.rank) }) ?? true { best = (rank, name) }
        }
        if let best { return folder + "/" + best.name }
        if names.contains(".metadata") || names.contains(where: { $0.hasSuffix(".distcp") }) {
            throw .otherContainer(
                path: folder, what: "a distributed checkpoint of torch: turn it into one file with torch.distributed.checkpoint.format_utils dcp_to_torch")
        }
        if names.contains(where: { $0.contains("-of-") }) {
            throw .unreadable(path: folder, reason: "it has shards of weights without the .index.json that lists them")
        }
        let shown = names.prefix(4).map { "'\($0)'" }.joined(separator: ", ")
        throw .unreadable(
            path: folder,
            reason:
                "it is a folder without \(stems.joined(separator: ", ")) as .safetensors or .bin\(shown.isEmpty ? ": it is empty" : "; it holds \(shown)\(names.count > 4 ? ", ..." : "")")"
        )
    }
}
