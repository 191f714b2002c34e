import TensorMath

/// Latents to images of one size: the packed weights and the memory of a pass, taken once. Not for two callers at a time.
package final class LatentDecoder {
    package let configuration: AutoencoderConfiguration
    private let pass: AutoencoderPass

    /// - Parameters:
    ///   - latentHeight, latentWidth: sides of a latent.
    ///   - kind: how the convolutions are computed.
    package init(
        _ autoencoder: AutoencoderKL, latentHeight: Int, latentWidth: Int, pool: ThreadPool, _ kind: ConvolutionKind = .best(for: .float32)
    ) throws {
        let c = autoencoder.configuration
        guard latentHeight > 0, latentWidth > 0 else {
            throw AutoencoderError.badSides(height: latentHeight, width: latentWidth, multiple: 1)
        }
        let input = FeatureShape(height: latentHeight, width: latentWidth, channels: c.latentChannels)
        var plan = NetworkPlan(autoencoder.tensors, input: input, kind)
        if plan.has("post_quant_conv") { try plan.convolution("post_quant_conv", c.latentChannels, kernel: 1, isMeasured: false) }
        let channels = Array(c.blockOutChannels.reversed())
        try plan.convolution("decoder.conv_in", channels[0])
        try plan.midBlock("decoder.mid_block", c)
        for (level, count) in channels.enumerated() {
            for layer in 0...c.layersPerBlock { try plan.resnet("decoder.up_blocks.\(level).resnets.\(layer)", count) }
            if level < channels.count - 1 { try plan.upsample("decoder.up_blocks.\(level).upsamplers.0.conv") }
        }
        try plan.convolution("decoder.conv_out", c.outChannels, normed: "decoder.conv_norm_out", isMeasured: false)
        configuration = c
        pass = AutoencoderPass(plan, input: input, c, pool: pool)
    }

    /// Sides of the image, and of its latent.
    package var imageSize: (height: Int, width: Int) { (pass.output.height, pass.output.width) }
    package var latentCount: Int { pass.input.count }

    /// The image (3, H, W), about -1...1 and not clamped, of a latent (C, h, w) as the diffusion network has it: it is divided by the
    /// scaling factor first.
    package func decode(_ latent: Span<Float>) -> [Float] {
        precondition(latent.count == latentCount, "a latent of \(latent.count) values for \(latentCount)")
        return pass.run(latent, times: 1 / configuration.scalingFactor, plus: configuration.shiftFactor)
    }
}
