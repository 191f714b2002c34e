import AdapterFormat
import Autoencoder
import DiTModel
import ImageFiles
import TensorMath

/// Latents to pictures: those of a pixel-space base are pictures themselves, others go through the base's autoencoder.
struct PictureMaker {
    /// Side of a picture.
    let side: Int
    private let decoder: LatentDecoder?
    private let preset: Preset

    /// - Parameters:
    ///   - size: side of a latent.
    ///   - channels: of a latent.
    /// - Returns: nil for latents without an autoencoder.
    init?(channels: Int, size: Int, autoencoder: AutoencoderKL?, _ form: WeightForm, preset: Preset, pool: ThreadPool) throws {
        self.preset = preset
        guard let autoencoder else {
            guard channels == 3 else { return nil }
            (decoder, side) = (nil, size)
            return
        }
        try autoencoder.check(latentChannels: channels)
        let decoder = try LatentDecoder(autoencoder, latentHeight: size, latentWidth: size, pool: pool, form)
        (self.decoder, side) = (decoder, decoder.imageSize.height)
    }

    /// Whether a picture costs as much as a network call.
    var decodes: Bool { decoder != nil }

    /// - Parameter latent: (C S S).
    func picture(_ latent: [Float]) -> RGBImage {
        // Pixels come at the resolution of their adapter.
        guard let decoder else { return RGBImage(latent, side: Int(Double(latent.count / 3).squareRoot().rounded()), halvesUp: false) }
        // The two implementations differ in where exact halves go (`DiT.md`, "From values to pixels").
        return RGBImage(decoder.decode(latent.span), side: side, halvesUp: preset == .original)
    }
}

/// A picture to make, after the network call that left its latent.
struct PendingPicture {
    enum Kind {
        case preview(number: Int)
        /// The image itself; `isLast` where all others of the request have taken their last step.
        case image(digest: Digest, isLast: Bool)
    }

    let request: RequestID
    let image: Int
    let kind: Kind
    let latent: [Float]
}
