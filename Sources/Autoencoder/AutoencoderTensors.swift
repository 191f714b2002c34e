import TensorFiles

/// The tensors of an autoencoder under diffusers' present names, whatever names the file uses: diffusers' old ones for the
/// attention, or CompVis' own with or without `first_stage_model.`, where the decoder's levels run the other way.
struct AutoencoderTensors: Sendable {
    let file: TensorFile
    /// Levels of the decoder.
    private let levels: Int
    private let prefix: String
    private let isCompVis: Bool

    init(_ file: TensorFile) throws(AutoencoderError) {
        self.file = file
        let end = "decoder.conv_in.weight"
        guard let name = file.entries.map(\.name).first(where: { $0 == end || $0.hasSuffix("." + end) }) else {
            throw .notAnAutoencoder(file: file.path)
        }
        let prefix = String(name.dropLast(end.count))
        isCompVis = file[prefix + "decoder.norm_out.weight"] != nil
        let level = isCompVis ? "decoder.up." : "decoder.up_blocks."
        let numbers = file.entries.compactMap { entry -> Int? in
            guard entry.name.hasPrefix(prefix + level) else { return nil }
            return Int(entry.name.dropFirst(prefix.count + level.count).prefix { $0 != "." })
        }
        self.prefix = prefix
        levels = (numbers.max() ?? -1) + 1
    }

    /// The shape under a present name; nil where there is no such tensor.
    func shape(_ name: String) -> [Int]? { entry(name)?.shape }

    /// The values under a present name, whose shape `check` has seen.
    func values(_ name: String) throws -> [Float] {
        guard let entry = entry(name) else { throw AutoencoderError.missingTensor(file: file.path, name: name, shape: []) }
        return try file.floats(entry.name)
    }

    /// Whether the file has an encoder; some hold the decoder alone.
    var hasEncoder: Bool { shape("encoder.conv_in.weight") != nil }

    /// Compares every tensor with what the configuration asks for. The encoder may be missing as a whole, and so may each of the 1x1
    /// convolutions around the latent; a tensor beside these that has no place is refused.
    func check(_ configuration: AutoencoderConfiguration) throws(AutoencoderError) {
        var known: Set<String> = []
        for (name, shape) in configuration.tensorShapes {
            guard let entry = entry(name) else {
                let part = name.prefix { $0 != "." }
                if part == "encoder" ? !hasEncoder : part != "decoder" && self.shape("\(part).weight") == nil { continue }
                throw .missingTensor(file: file.path, name: name, shape: shape)
            }
            // A linear layer's matrix may also be stored as a 1x1 convolution.
            guard entry.shape == shape || (name.contains(".attentions.") && entry.shape == shape + [1, 1]) else {
                throw .wrongShape(file: file.path, name: entry.name, shape: entry.shape, expected: shape)
            }
            known.insert(entry.name)
        }
        let parts = ["encoder.", "decoder.", "quant_conv.", "post_quant_conv."].map { prefix + $0 }
        for entry in file.entries where !known.contains(entry.name) && parts.contains(where: entry.name.hasPrefix) {
            throw .unknownTensor(file: file.path, name: entry.name)
        }
    }

    private func entry(_ name: String) -> TensorEntry? {
        if isCompVis { return file[prefix + compVisName(name)] }
        return file[prefix + name] ?? file[prefix + oldName(name)]
    }

    /// The attention's names up to diffusers 0.17.
    private func oldName(_ name: String) -> String {
        let pairs = [(".to_q.", ".query."), (".to_k.", ".key."), (".to_v.", ".value."), (".to_out.0.", ".proj_attn.")]
        return pairs.reduce(name) { $0.replacing($1.0, with: $1.1) }
    }

    private func compVisName(_ name: String) -> String {
        var parts = name.split(separator: ".").map(String.init)
        if parts.count > 2, let level = Int(parts[2]), parts[1] == "down_blocks" || parts[1] == "up_blocks" {
            parts[2] = String(parts[1] == "up_blocks" ? levels - 1 - level : level)
            parts[1] = parts[1] == "up_blocks" ? "up" : "down"
            switch parts[3] {
            case "resnets": parts[3] = "block"
            default: parts.replaceSubrange(3...4, with: [parts[3] == "upsamplers" ? "upsample" : "downsample"])
            }
        }
        let pairs = [
            ("mid_block.resnets.0", "mid.block_1"), ("mid_block.resnets.1", "mid.block_2"), ("mid_block.attentions.0", "mid.attn_1"),
            ("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out"),
            ("conv_norm_out", "norm_out"), ("conv_shortcut", "nin_shortcut"),
        ]
        return pairs.reduce(parts.joined(separator: ".")) { $0.replacing($1.0, with: $1.1) }
    }
}
