import TensorFiles

/// The tensors of an autoencoder under diffusers' present names, whatever names the file uses: diffusers' old ones for the
/// attention, or CompVis' own with or without `first_stage_model.`, where the decoder's levels run the other way.
struct AutoencoderTensors: Sendable {
    let file: TensorFile
    /// Levels of the decoder.
    private var levels: Int
    private let prefix: String
    private let isCompVis: Bool

    static let markOfKL = "decoder.conv_in.weight"

    /// The name of a file's tensor, whatever stands before it.
    static func name(endingIn end: String, in file: TensorFile) -> String? {
        file.entries.lazy.map(\.name).first { $0 == end || $0.hasSuffix("." + end) }
    }

    /// - Parameter mark: the tensor that every autoencoder of the kind has.
    init(_ file: TensorFile, mark: String = Self.markOfKL) throws(AutoencoderError) {
        self.file = file
        guard let name = Self.name(endingIn: mark, in: file) else { throw .notAnAutoencoder(file: file.path) }
        let prefix = String(name.dropLast(mark.count))
        isCompVis = file[prefix + "decoder.norm_out.weight"] != nil
        let level = isCompVis ? "decoder.up." : "decoder.up_blocks."
        self.prefix = prefix
        levels = 0
        levels = (lastNumber(level) ?? -1) + 1
    }

    /// The shape under a present name; nil where there is no such tensor.
    func shape(_ name: String) -> [Int]? { entry(name)?.shape }

    /// The values under a present name, whose shape `check` has seen.
    func values(_ name: String) throws -> [Float] {
        guard let entry = entry(name) else { throw AutoencoderError.missingTensor(file: file.path, name: name, shape: []) }
        return try file.floats(entry.name)
    }

    /// Whether the file has an encoder; some hold the decoder alone.
    var hasEncoder: Bool { file.entries.contains { $0.name.hasPrefix(prefix + "encoder.") } }

    /// The highest number after a beginning of present names; nil where there is none.
    func lastNumber(_ beginning: String) -> Int? {
        file.entries.compactMap { entry in
            entry.name.hasPrefix(prefix + beginning) ? Int(entry.name.dropFirst(prefix.count + beginning.count).prefix { $0 != "." }) : nil
        }.max()
    }

    /// Compares every tensor with the shapes of a whole network. The encoder may be missing as a whole, and so may each of the 1x1
    /// convolutions around the latent; a tensor beside these that has no place is refused.
    func check(_ shapes: [TensorShape]) throws(AutoencoderError) {
        var known: Set<String> = []
        for tensor in shapes {
            let (name, shape) = (tensor.name, tensor.shape)
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

extension AutoencoderConfiguration {
    /// Stable Diffusion's own: eight pixels to a latent pixel.
    package static let stableDiffusion = AutoencoderConfiguration(
        inChannels: 3, outChannels: 3, latentChannels: 4, blockOutChannels: [128, 256, 512, 512], layersPerBlock: 2, hasMidAttention: true)

    /// Every tensor of the network under its present name, `quant_conv` and `post_quant_conv` among them, which some leave out.
    package var tensorShapes: [TensorShape] {
        var list: [TensorShape] = []
        func convolution(_ name: String, _ from: Int, _ to: Int, _ kernel: Int = 3) {
            list += [TensorShape(name + ".weight", [to, from, kernel, kernel]), TensorShape(name + ".bias", [to])]
        }
        func norm(_ name: String, _ channels: Int) { list += [TensorShape(name + ".weight", [channels]), TensorShape(name + ".bias", [channels])] }
        func resnet(_ name: String, _ from: Int, _ to: Int) {
            norm(name + ".norm1", from)
            convolution(name + ".conv1", from, to)
            norm(name + ".norm2", to)
            convolution(name + ".conv2", to, to)
            if from != to { convolution(name + ".conv_shortcut", from, to, 1) }
        }
        func mid(_ name: String, _ channels: Int) {
            resnet(name + ".resnets.0", channels, channels)
            if hasMidAttention {
                norm(name + ".attentions.0.group_norm", channels)
                for part in ["to_q", "to_k", "to_v", "to_out.0"] {
                    let linear = "\(name).attentions.0.\(part)"
                    list += [TensorShape(linear + ".weight", [channels, channels]), TensorShape(linear + ".bias", [channels])]
                }
            }
            resnet(name + ".resnets.1", channels, channels)
        }
        let top = blockOutChannels[blockOutChannels.count - 1]
        convolution("encoder.conv_in", inChannels, blockOutChannels[0])
        for (level, channels) in blockOutChannels.enumerated() {
            for layer in 0..<layersPerBlock {
                resnet("encoder.down_blocks.\(level).resnets.\(layer)", layer == 0 && level > 0 ? blockOutChannels[level - 1] : channels, channels)
            }
            if level < blockOutChannels.count - 1 { convolution("encoder.down_blocks.\(level).downsamplers.0.conv", channels, channels) }
        }
        mid("encoder.mid_block", top)
        norm("encoder.conv_norm_out", top)
        convolution("encoder.conv_out", top, 2 * latentChannels)
        convolution("quant_conv", 2 * latentChannels, 2 * latentChannels, 1)
        convolution("post_quant_conv", latentChannels, latentChannels, 1)
        convolution("decoder.conv_in", latentChannels, top)
        mid("decoder.mid_block", top)
        for (level, channels) in blockOutChannels.reversed().enumerated() {
            let before = level == 0 ? top : blockOutChannels[blockOutChannels.count - level]
            for layer in 0...layersPerBlock { resnet("decoder.up_blocks.\(level).resnets.\(layer)", layer == 0 ? before : channels, channels) }
            if level < blockOutChannels.count - 1 { convolution("decoder.up_blocks.\(level).upsamplers.0.conv", channels, channels) }
        }
        norm("decoder.conv_norm_out", blockOutChannels[0])
        convolution("decoder.conv_out", blockOutChannels[0], outChannels)
        return list
    }
}
