import TensorMath

/// A plan with its memory, ready to run; not for two callers at a time.
final class AutoencoderPass {
    let input, output: FeatureShape
    private let layers: [any AutoencoderLayer]
    private let space: Workspace

    init(_ plan: NetworkPlan, input: FeatureShape, _ configuration: AutoencoderConfiguration, pool: ThreadPool) {
        self.input = input
        output = plan.shape
        layers = plan.layers
        space = Workspace(plan.needs, groups: configuration.normNumGroups, pool: pool, dtype: plan.form.dtype)
    }

    /// - Parameters:
    ///   - x: (C, H, W) as arrays keep images, each value times `factor` plus `offset` on its way in.
    /// - Returns: (C, H, W).
    func run(_ x: Span<Float>, times factor: Float, plus offset: Float) -> [Float] {
        var feature = space.take(input, atFront: true)
        let pixels = input.height * input.width, channels = input.channels
        feature.values.withMutableSpan { values in
            for pixel in 0..<pixels {
                for channel in 0..<channels { values[pixel * channels + channel] = x[channel * pixels + pixel] * factor + offset }
            }
        }
        for layer in layers { feature = layer.forward(feature, space) }
        let (outPixels, outChannels) = (feature.values.rows, feature.channels)
        var image = [Float](repeating: 0, count: outPixels * outChannels)
        feature.values.withSpan { values in
            for channel in 0..<outChannels {
                for pixel in 0..<outPixels { image[channel * outPixels + pixel] = values[pixel * outChannels + channel] }
            }
        }
        return image
    }
}

/// Latents to images of one size: the packed weights and the memory of a pass, taken once. Not for two callers at a time.
package final class LatentDecoder {
    package let configuration: AutoencoderConfiguration
    private let pass: AutoencoderPass

    /// - Parameters:
    ///   - latentHeight, latentWidth: sides of a latent.
    ///   - form: how the convolutions are computed.
    package init(
        _ autoencoder: AutoencoderKL, latentHeight: Int, latentWidth: Int, pool: ThreadPool, _ form: WeightForm = .best(for: .f32)
    ) throws {
        let c = autoencoder.configuration
        guard latentHeight > 0, latentWidth > 0 else {
            throw AutoencoderError.badSides(height: latentHeight, width: latentWidth, multiple: 1)
        }
        let input = FeatureShape(height: latentHeight, width: latentWidth, channels: c.latentChannels)
        var plan = NetworkPlan(autoencoder.tensors, input: input, form)
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

/// A normal distribution over latents, (C, h, w) each; the logarithm of the variance lies in -30...20.
package struct LatentPosterior: Sendable, Hashable {
    package var mean: [Float]
    package var logVariance: [Float]

    package init(mean: [Float], logVariance: [Float]) {
        precondition(mean.count == logVariance.count, "\(mean.count) means, \(logVariance.count) variances")
        (self.mean, self.logVariance) = (mean, logVariance)
    }
}

/// Images to latents of one size: the packed weights and the memory of a pass, taken once. Not for two callers at a time.
package final class LatentEncoder {
    package let configuration: AutoencoderConfiguration
    private let pass: AutoencoderPass

    /// - Parameters:
    ///   - height, width: sides of the images, multiples of the autoencoder's `downsampling`.
    /// - Throws: `badSides`, and `missingTensor` where the file holds a decoder alone.
    package init(_ autoencoder: AutoencoderKL, height: Int, width: Int, pool: ThreadPool, _ form: WeightForm = .best(for: .f32)) throws {
        let c = autoencoder.configuration
        guard height > 0, width > 0, height % c.downsampling == 0, width % c.downsampling == 0 else {
            throw AutoencoderError.badSides(height: height, width: width, multiple: c.downsampling)
        }
        let input = FeatureShape(height: height, width: width, channels: c.inChannels)
        var plan = NetworkPlan(autoencoder.tensors, input: input, form)
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
        configuration = c
        pass = AutoencoderPass(plan, input: input, c, pool: pool)
    }

    /// Sides of a latent.
    package var latentSize: (height: Int, width: Int) { (pass.output.height, pass.output.width) }

    /// The posterior of an image (3, H, W) in -1...1, in the encoder's own scale: a sample of it becomes the diffusion network's
    /// latent as `(z - shiftFactor) * scalingFactor`.
    package func encode(_ image: Span<Float>) -> LatentPosterior {
        precondition(image.count == pass.input.count, "an image of \(image.count) values for \(pass.input.count)")
        let moments = pass.run(image, times: 1, plus: 0)
        let half = moments.count / 2
        return LatentPosterior(mean: Array(moments[..<half]), logVariance: moments[half...].map { min(max($0, -30), 20) })
    }
}
