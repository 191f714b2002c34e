import TensorFiles
import TensorMath

/// An AutoencoderKL as Stable Diffusion and DiT use it: images of 3 channels to latents of 4, in later models 16, and back.
package struct AutoencoderKL: ImageAutoencoder {
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
        try tensors.check(configuration.tensorShapes)
        try format.checkImages(file.path)
    }

    package init(path: String) throws { try self.init(file: TensorFile(path: path)) }

    package var format: LatentFormat { configuration.format }
    package var hasEncoder: Bool { tensors.hasEncoder }

    package func decoderPlan(on latent: FeatureShape, _ form: WeightForm) throws -> NetworkPlan {
        let c = configuration
        let entry = ValueMap(factor: 1 / c.scalingFactor, offset: c.shiftFactor)
        var plan = NetworkPlan(tensors, input: latent, entry: entry, groups: c.normNumGroups, form)
        if plan.has("post_quant_conv") { try plan.convolution("post_quant_conv", c.latentChannels, kernel: 1, isMeasured: false) }
        let channels = Array(c.blockOutChannels.reversed())
        try plan.convolution("decoder.conv_in", channels[0])
        try plan.midBlock("decoder.mid_block", c)
        for (level, count) in channels.enumerated() {
            for layer in 0...c.layersPerBlock { try plan.resnet("decoder.up_blocks.\(level).resnets.\(layer)", count) }
            if level < channels.count - 1 { try plan.upsample("decoder.up_blocks.\(level).upsamplers.0.conv") }
        }
        try plan.convolution("decoder.conv_out", c.outChannels, normed: "decoder.conv_norm_out", isMeasured: false)
        return plan
    }

    package func encoderPlan(on image: FeatureShape, _ form: WeightForm) throws -> NetworkPlan {
        let c = configuration
        var plan = NetworkPlan(tensors, input: image, groups: c.normNumGroups, form)
        try plan.convolution("encoder.conv_in", c.blockOutChannels[0])
        for (level, count) in c.blockOutChannels.enumerated() {
            for layer in 0..<c.layersPerBlock { try plan.resnet("encoder.down_blocks.\(level).resnets.\(layer)", count) }
            if level < c.blockOutChannels.count - 1 {
                try plan.convolution("encoder.down_blocks.\(level).downsamplers.0.conv", count, stride: 2)
            }
        }
        try plan.midBlock("encoder.mid_block", c)
        try plan.convolution("encoder.conv_out", 2 * c.latentChannels, normed: "encoder.conv_norm_out", isMeasured: false)
        if plan.has("quant_conv") { try plan.convolution("quant_conv", 2 * c.latentChannels, kernel: 1, isMeasured: false) }
        return plan
    }
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
