import TensorFiles
import TensorMath

/// What an autoencoder's images and latents are.
package struct LatentFormat: Sendable, Hashable {
    /// Channels of an image on its way in, on its way out, and of a latent.
    package var inChannels, outChannels, latentChannels: Int
    /// Pixels of one latent pixel, along a side.
    package var downsampling: Int
    /// The network's latents are the encoder's, less the shift, times the factor.
    package var scalingFactor, shiftFactor: Float

    /// Refuses images of other than three channels, which nothing here reads or shows.
    func checkImages(_ file: String) throws(AutoencoderError) {
        for (field, count) in [("in_channels", inChannels), ("out_channels", outChannels)] where count != 3 {
            throw .unsupported(file: file, field: field, value: "\(count)", wanted: "3")
        }
    }
}

/// A network between images and latents, checked tensor by tensor. It only knows its file: `LatentDecoder` and `LatentEncoder` hold the
/// packed weights and the memory for images of one size.
package protocol ImageAutoencoder: Sendable {
    var file: TensorFile { get }
    var format: LatentFormat { get }
    /// Whether the file has an encoder; some hold the decoder alone.
    var hasEncoder: Bool { get }

    /// The layers from latents as the diffusion network has them to images of about -1...1.
    func decoderPlan(on latent: FeatureShape, _ form: WeightForm) throws -> NetworkPlan
    /// The layers from images in -1...1 to what the encoder says of their latents, in its own scale: the latent itself, or means and
    /// logarithms of variances.
    /// - Throws: `missingTensor` where the file holds a decoder alone.
    func encoderPlan(on image: FeatureShape, _ form: WeightForm) throws -> NetworkPlan
}

/// The autoencoder that a file holds: an AutoencoderTiny, else an AutoencoderKL.
/// - Throws: `TensorFileError`, `AutoencoderError`.
package func imageAutoencoder(_ file: TensorFile) throws -> any ImageAutoencoder {
    AutoencoderTiny.isHeld(by: file) ? try AutoencoderTiny(file: file) : try AutoencoderKL(file: file)
}
