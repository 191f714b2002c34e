import TensorFiles

/// The names of a DiT's tensors in the reference and in diffusers, both ways (`DiT.md`, "Names in diffusers").
package enum DiffusersNames {
    /// A tensor's name in the reference, and the names in diffusers of the parts that are stacked into it.
    package struct Stack {
        package let name: String
        package let parts: [String]
    }

    /// Every tensor of the reference but the positions. The three embedders have a copy in every block; the one listed here is block
    /// 0's.
    package static func stacks(depth: Int) -> [Stack] {
        let embedders = embedders.map { Stack(name: $0.name, parts: [copy($0.suffix, block: 0)]) }
        let blocks = (0..<depth).flatMap { i in
            [
                ("attn.qkv", ["attn1.to_q", "attn1.to_k", "attn1.to_v"]), ("attn.proj", ["attn1.to_out.0"]),
                ("mlp.fc1", ["ff.net.0.proj"]), ("mlp.fc2", ["ff.net.2"]), ("adaLN_modulation.1", ["norm1.linear"]),
            ].flatMap { pair in both("blocks.\(i).\(pair.0)", pair.1.map { "transformer_blocks.\(i).\($0)" }) }
        }
        return both("x_embedder.proj", ["pos_embed.proj"]) + embedders + blocks
            + both("final_layer.adaLN_modulation.1", ["proj_out_1"]) + both("final_layer.linear", ["proj_out_2"])
    }

    /// What diffusers keeps once per block and the reference once.
    static let embedders = [
        ("t_embedder.mlp.0.weight", "timestep_embedder.linear_1.weight"), ("t_embedder.mlp.0.bias", "timestep_embedder.linear_1.bias"),
        ("t_embedder.mlp.2.weight", "timestep_embedder.linear_2.weight"), ("t_embedder.mlp.2.bias", "timestep_embedder.linear_2.bias"),
        (TunableLayout.classTableName, "class_embedder.embedding_table.weight"),
    ].map { (name: $0.0, suffix: $0.1) }

    package static func copy(_ suffix: String, block: Int) -> String { "transformer_blocks.\(block).norm1.emb.\(suffix)" }

    private static func both(_ name: String, _ parts: [String]) -> [Stack] {
        ["weight", "bias"].map { kind in Stack(name: "\(name).\(kind)", parts: parts.map { "\($0).\(kind)" }) }
    }

    static func isDiffusers(_ file: TensorFile) -> Bool { file["transformer_blocks.0.attn1.to_q.weight"] != nil }

    /// The same tensors under the reference's names: queries, keys and values stacked, one copy of each embedder after all
    /// were found equal. A stray table of positions stays, to be checked like any other.
    static func original(_ file: TensorFile) throws -> TensorFile {
        let blocks = file.entries.compactMap { entry in
            entry.name.hasPrefix("transformer_blocks.") ? Int(entry.name.dropFirst("transformer_blocks.".count).prefix { $0 != "." }) : nil
        }
        guard let deepest = blocks.max(), deepest < file.entries.count else {
            throw AdapterFormatError.inconsistentShapes(file: file.path, reason: "there are no transformer_blocks 0, 1, 2, ...")
        }
        var used: Set<String> = []
        var entries: [TensorEntry] = []
        for stack in stacks(depth: deepest + 1) {
            let found = try stack.parts.map { part in
                guard let entry = file[part] else { throw AdapterFormatError.missingTensor(file: file.path, name: part, shape: []) }
                return entry
            }
            guard let entry = found.count == 1 ? found[0].renamed(stack.name) : TensorEntry.stacked(stack.name, found) else {
                let reason = "\(stack.parts.joined(separator: ", ")) cannot be stacked: \(found.map { "\($0.shape)" }.joined(separator: ", "))"
                throw AdapterFormatError.inconsistentShapes(file: file.path, reason: reason)
            }
            entries.append(entry)
            used.formUnion(stack.parts)
        }
        for (name, suffix) in embedders { used.formUnion(try copies(of: name, suffix, depth: deepest + 1, file)) }
        for entry in file.entries where !used.contains(entry.name) {
            guard ["pos_embed", "pos_embed.pos_embed"].contains(entry.name) else {
                throw AdapterFormatError.unknownTensor(file: file.path, name: entry.name)
            }
            entries.append(entry.renamed(BaseFile.positionsName))
        }
        guard Set(entries.map(\.name)).count == entries.count else {
            throw AdapterFormatError.inconsistentShapes(file: file.path, reason: "it has two tables of positions")
        }
        // Of the rest of its metadata nothing is meant for the reference's names.
        let metadata = file.metadata.filter { $0.key == SparsityConfiguration.key }
        return TensorFile(path: file.path, metadata: metadata, entries: entries, section: file.section)
    }

    /// The names of an embedder's copies, all of them equal bit for bit.
    private static func copies(of name: String, _ suffix: String, depth: Int, _ file: TensorFile) throws -> [String] {
        let first = try file.entry(copy(suffix, block: 0))
        for block in 1..<max(depth, 1) {
            guard let entry = file[copy(suffix, block: block)] else {
                throw AdapterFormatError.missingTensor(file: file.path, name: copy(suffix, block: block), shape: first.shape)
            }
            guard first.hasSameValues(as: entry) else {
                throw AdapterFormatError.differingCopies(file: file.path, name: name, block: block)
            }
        }
        return (0..<depth).map { copy(suffix, block: $0) }
    }
}
