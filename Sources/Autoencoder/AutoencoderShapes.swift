extension AutoencoderConfiguration {
    /// Stable Diffusion's own: eight pixels to a latent pixel.
    package static let stableDiffusion = AutoencoderConfiguration(
        inChannels: 3, outChannels: 3, latentChannels: 4, blockOutChannels: [128, 256, 512, 512], layersPerBlock: 2, hasMidAttention: true)

    /// Every tensor of the network under its present name, `quant_conv` and `post_quant_conv` among them, which some leave out.
    package var tensorShapes: [(name: String, shape: [Int])] {
        var list: [(name: String, shape: [Int])] = []
        func convolution(_ name: String, _ from: Int, _ to: Int, _ kernel: Int = 3) {
            list += [(name + ".weight", [to, from, kernel, kernel]), (name + ".bias", [to])]
        }
        func norm(_ name: String, _ channels: Int) { list += [(name + ".weight", [channels]), (name + ".bias", [channels])] }
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
                    list += [("\(name).attentions.0.\(part).weight", [channels, channels]), ("\(name).attentions.0.\(part).bias", [channels])]
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
