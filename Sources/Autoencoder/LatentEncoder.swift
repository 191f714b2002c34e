import TensorMath

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
    package init(_ autoencoder: AutoencoderKL, height: Int, width: Int, pool: ThreadPool, _ kind: ConvolutionKind = .best(for: .float32)) throws {
        let c = autoencoder.configuration
        guard height > 0, width > 0, height % c.downsampling == 0, width % c.downsampling == 0 else {
            throw AutoencoderError.badSides(height: height, width: width, multiple: c.downsampling)
        }
        let input = FeatureShape(height: height, width: width, channels: c.inChannels)
        var plan = NetworkPlan(autoencoder.tensors, input: input, kind)
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
