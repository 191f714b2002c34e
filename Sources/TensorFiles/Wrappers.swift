extension TensorFile {
    /// What wrappers of a model put before every name: data parallelism, compilation, averages, training frameworks, PEFT.
    private static let prefixes: Set = [
        "module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "model", "net", "network", "ema_model", "online_model", "model_ema", "ema",
        "averaged_model", "diffusion_model", "denoiser", "backbone", "transformer", "dit", "base_model",
    ]
    /// Of these beside others, the average is what is sampled from (`DiT.md`, "Containers").
    private static let averages = ["ema_model", "model_ema", "ema", "averaged_model"]
    /// What wrappers put between names, around single blocks.
    private static let infixes: Set = ["_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"]
    /// Counters that wrappers save beside the weights.
    private static let counters: Set = ["n_averaged", "initted", "step", "decay", "num_updates", "optimization_step"]

    /// The same tensors under the model's own names, whatever wrapped it, in any order and number.
    func unwrapped() -> TensorFile {
        var (entries, section) = averagedByFlatNames()
        while true {
            let weights = entries.filter { !($0.count <= 1 && Self.counters.contains($0.name)) }
            if !weights.isEmpty { entries = weights }
            let heads = Set(entries.map { String($0.name.prefix { $0 != "." }) })
            guard !heads.isEmpty, heads.isSubset(of: Self.prefixes), entries.allSatisfy({ $0.name.contains(".") }) else { break }
            if heads.count > 1 {
                guard let chosen = Self.model(among: heads, of: entries) else { break }
                entries = entries.filter { $0.name.hasPrefix(chosen + ".") }
                section = [section, chosen].compactMap(\.self).joined(separator: ".")
            }
            entries = entries.map { $0.renamed(String($0.name.drop { $0 != "." }.dropFirst())) }
        }
        let plain = entries.map { entry in
            let parts = entry.name.split(separator: ".", omittingEmptySubsequences: false)
            return parts.contains { Self.infixes.contains(String($0)) }
                ? entry.renamed(parts.filter { !Self.infixes.contains(String($0)) }.joined(separator: ".")) : entry
        }
        // Names that would be one are two tensors, and stay apart.
        if Set(plain.map(\.name)).count == plain.count { entries = plain }
        return TensorFile(path: path, metadata: metadata, entries: entries, section: section, arguments: arguments)
    }

    /// The average that latent diffusion's code keeps in buffers, which cannot have dots in their names (`model_ema.blocks0attnqkvweight` of
    /// `model.blocks.0.attn.qkv.weight`), under the names of the model beside it. What is not averaged, such as positions, is the model's own.
    private func averagedByFlatNames() -> (entries: [TensorEntry], section: String?) {
        guard let head = Self.averages.first(where: { head in entries.contains { $0.name.hasPrefix(head + ".") } }) else { return (entries, section) }
        let own = entries.filter { $0.name.hasPrefix(head + ".") }, others = entries.filter { !$0.name.hasPrefix(head + ".") }
        var averages: [String: TensorEntry] = [:]
        for entry in own {
            let name = String(entry.name.dropFirst(head.count + 1))
            if entry.count <= 1, Self.counters.contains(name) { continue }
            guard !name.contains(".") else { return (entries, section) }
            averages[name] = entry
        }
        // The names begin within the module that was averaged, which may be the whole or a part of it.
        let flat = others.map { entry in
            let parts = entry.name.split(separator: ".")
            return (0..<parts.count).map { parts[$0...].joined() }.first { averages[$0]?.shape == entry.shape }
        }
        // Each has one place, or the file is of something else.
        let used = flat.compactMap(\.self)
        guard !averages.isEmpty, used.count == averages.count, Set(used).count == used.count else { return (entries, section) }
        let merged = zip(others, flat).map { entry, name in name.flatMap { averages[$0] }?.renamed(entry.name) ?? entry }
        return (merged, [section, head].compactMap(\.self).joined(separator: "."))
    }

    /// Of a model and an average of it under two prefixes the average, where it has the model's names; some write it under others.
    private static func model(among heads: Set<String>, of entries: [TensorEntry]) -> String? {
        guard let average = averages.first(where: heads.contains) else { return nil }
        // The two may be wrapped differently, as in "model.w" and "ema.module.w".
        func names(_ head: String) -> Set<Substring> {
            Set(entries.lazy.filter { $0.name.hasPrefix(head + ".") }.map { bare($0.name.dropFirst(head.count + 1)) })
        }
        let own = names(average), others = heads.subtracting([average]).sorted()
        let isOfOne = others.contains { head in !names(head).isDisjoint(with: own) }
        return isOfOne ? average : others.count == 1 ? others[0] : nil
    }

    /// A name without what wrappers put before it.
    private static func bare(_ name: Substring) -> Substring {
        var rest = name
        while let point = rest.firstIndex(of: "."), prefixes.contains(String(rest[..<point])) { rest = rest[rest.index(after: point)...] }
        return rest
    }

    /// The tensors whose names begin with a prefix, without it; what else the file holds is another model's.
    package func part(under prefix: String) -> TensorFile {
        let own = entries.filter { $0.name.hasPrefix(prefix) }.map { $0.renamed(String($0.name.dropFirst(prefix.count))) }
        let name = String(prefix.hasSuffix(".") ? prefix.dropLast() : prefix[...])
        return TensorFile(
            path: path, metadata: metadata, entries: own, section: [section, name].compactMap(\.self).joined(separator: "."), arguments: arguments)
    }

    /// What the names begin with, up to the first dot, the most frequent first: what to say of a file of something else.
    package var beginnings: [String] {
        let heads = Dictionary(grouping: entries) { String($0.name.prefix { $0 != "." }) }
        return heads.sorted { ($1.value.count, $0.key) < ($0.value.count, $1.key) }.map(\.key)
    }
}
