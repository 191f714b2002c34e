import TensorMath

/// A plan with its memory, ready to run; not for two callers at a time.
final class AutoencoderPass {
    let input, output: FeatureShape
    private let layers: [any AutoencoderLayer]
    private let entry: ValueMap
    private let space: Workspace

    init(_ plan: NetworkPlan, pool: ThreadPool) {
        input = plan.input
        output = plan.shape
        layers = plan.layers
        entry = plan.entry
        space = Workspace(plan.needs, groups: plan.groups, pool: pool, dtype: plan.form.dtype)
    }

    /// - Parameter x: (C, H, W) as arrays keep images.
    /// - Returns: (C, H, W).
    func run(_ x: Span<Float>) -> [Float] {
        var feature = space.take(input, atFront: true)
        let pixels = input.height * input.width, channels = input.channels
        feature.values.withMutableSpan { values in
            for pixel in 0..<pixels {
                for channel in 0..<channels { values[pixel * channels + channel] = entry(x[channel * pixels + pixel]) }
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
    private let pass: AutoencoderPass

    /// - Parameters:
    ///   - latentHeight, latentWidth: sides of a latent.
    ///   - form: how the convolutions are computed.
    package init(
        _ autoencoder: any ImageAutoencoder, latentHeight: Int, latentWidth: Int, pool: ThreadPool, _ form: WeightForm = .best(for: .f32)
    ) throws {
        guard latentHeight > 0, latentWidth > 0 else {
            throw AutoencoderError.badSides(height: latentHeight, width: latentWidth, multiple: 1)
        }
        let input = FeatureShape(height: latentHeight, width: latentWidth, channels: autoencoder.format.latentChannels)
        pass = AutoencoderPass(try autoencoder.decoderPlan(on: input, form), pool: pool)
    }

    /// Sides of the image, and of its latent.
    package var imageSize: (height: Int, width: Int) { (pass.output.height, pass.output.width) }
    package var latentCount: Int { pass.input.count }

    /// The image (3, H, W), about -1...1 and not clamped, of a latent (C, h, w) as the diffusion network has it: it is divided by the
    /// scaling factor first, and the shift added.
    package func decode(_ latent: Span<Float>) -> [Float] {
        precondition(latent.count == latentCount, "a latent of \(latent.count) values for \(latentCount)")
        return pass.run(latent)
    }
}

/// A normal distribution over latents, (C, h, w) each; the logarithm of the variance lies in -30...20, or is -infinity where the encoder
/// knows one latent alone.
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
    private let pass: AutoencoderPass
    private let hasVariance: Bool

    /// - Parameters:
    ///   - height, width: sides of the images, multiples of the autoencoder's `downsampling`.
    /// - Throws: `badSides`, and `missingTensor` where the file holds a decoder alone.
    package init(_ autoencoder: any ImageAutoencoder, height: Int, width: Int, pool: ThreadPool, _ form: WeightForm = .best(for: .f32)) throws {
        let format = autoencoder.format
        guard height > 0, width > 0, height % format.downsampling == 0, width % format.downsampling == 0 else {
            throw AutoencoderError.badSides(height: height, width: width, multiple: format.downsampling)
        }
        let input = FeatureShape(height: height, width: width, channels: format.inChannels)
        pass = AutoencoderPass(try autoencoder.encoderPlan(on: input, form), pool: pool)
        hasVariance = pass.output.channels == 2 * format.latentChannels
    }

    /// Sides of a latent.
    package var latentSize: (height: Int, width: Int) { (pass.output.height, pass.output.width) }

    /// The posterior of an image (3, H, W) in -1...1, in the encoder's own scale: a sample of it becomes the diffusion network's
    /// latent as `(z - shiftFactor) * scalingFactor`.
    package func encode(_ image: Span<Float>) -> LatentPosterior {
        precondition(image.count == pass.input.count, "an image of \(image.count) values for \(pass.input.count)")
        let moments = pass.run(image)
        guard hasVariance else { return LatentPosterior(mean: moments, logVariance: [Float](repeating: -.infinity, count: moments.count)) }
        let half = moments.count / 2
        return LatentPosterior(mean: Array(moments[..<half]), logVariance: moments[half...].map { min(max($0, -30), 20) })
    }
}
