import TensorFiles

/// An AutoencoderKL as Stable Diffusion and DiT use it: images of 3 channels to latents of 4 and back, checked tensor by tensor.
///
/// It only knows the file. `LatentDecoder` and `LatentEncoder` hold the packed weights and the memory for images of one size.
package struct AutoencoderKL: Sendable {
    package let file: TensorFile
    package let configuration: AutoencoderConfiguration
    let tensors: AutoencoderTensors

    /// - Parameter file: safetensors in diffusers' names, old or new, or CompVis' names. Where neither its metadata's `config` nor a
    ///   `config.json` beside it says otherwise, 32 norm groups and a scaling factor of 0.18215.
    /// - Throws: `TensorFileError`, `AutoencoderError`.
    package init(file: TensorFile) throws {
        self.file = file
        tensors = try AutoencoderTensors(file)
        configuration = try AutoencoderConfiguration(tensors, AutoencoderFields(file))
        try tensors.check(configuration)
    }

    package init(path: String) throws { try self.init(file: TensorFile(path: path)) }

    /// Whether the file has an encoder; some hold the decoder alone.
    package var hasEncoder: Bool { tensors.hasEncoder }
}

extension AutoencoderConfiguration {
    /// What the tensors show, and the fields.
    init(_ tensors: AutoencoderTensors, _ fields: AutoencoderFields) throws(AutoencoderError) {
        let need = { (name: String) throws(AutoencoderError) -> [Int] in
            guard let shape = tensors.shape(name), shape.count == 4 else {
                throw .missingTensor(file: tensors.file.path, name: name, shape: [])
            }
            return shape
        }
        let first = { (level: Int) in "decoder.up_blocks.\(level).resnets.0.conv1.weight" }
        var channels: [Int] = []
        while tensors.shape(first(channels.count)) != nil { channels.append(try need(first(channels.count))[0]) }
        var layers = 0
        while tensors.shape("decoder.up_blocks.0.resnets.\(layers).conv1.weight") != nil { layers += 1 }
        guard layers > 1 else { throw .notAnAutoencoder(file: tensors.file.path) }
        outChannels = try need("decoder.conv_out.weight")[0]
        latentChannels = try need("decoder.conv_in.weight")[1]
        inChannels = tensors.shape("encoder.conv_in.weight").flatMap { $0.count == 4 ? $0[1] : nil } ?? outChannels
        blockOutChannels = channels.reversed()
        layersPerBlock = layers - 1
        hasMidAttention = tensors.shape("decoder.mid_block.attentions.0.group_norm.weight") != nil
        normNumGroups = fields.normNumGroups ?? normNumGroups
        scalingFactor = fields.scalingFactor ?? scalingFactor
        shiftFactor = fields.shiftFactor ?? shiftFactor
        guard scalingFactor.isFinite, scalingFactor > 0, shiftFactor.isFinite else {
            throw .unsupported(file: tensors.file.path, field: "scaling_factor", value: "\(scalingFactor)", wanted: "a positive number")
        }
        for count in channels where normNumGroups < 1 || count % normNumGroups != 0 {
            throw .unknownGroups(file: tensors.file.path, channels: count, groups: normNumGroups)
        }
    }
}
