import AdapterFormat
import AdapterStore
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
    init?(channels: Int, size: Int, autoencoder: AutoencoderKL?, _ kind: ConvolutionKind, preset: Preset, pool: ThreadPool) throws {
        self.preset = preset
        guard let autoencoder else {
            guard channels == 3 else { return nil }
            (decoder, side) = (nil, size)
            return
        }
        guard autoencoder.configuration.latentChannels == channels, autoencoder.configuration.outChannels == 3 else {
            throw SamplingEngineError.otherAutoencoder(
                file: autoencoder.file.path, channels: autoencoder.configuration.latentChannels, wanted: channels)
        }
        let decoder = try LatentDecoder(autoencoder, latentHeight: size, latentWidth: size, pool: pool, kind)
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

extension AutoencoderKL {
    /// From a weights file, or from a diffusers component folder.
    package init(fileOrFolder path: String) throws {
        try self.init(path: DiffusersFolder.isFolder(path) ? DiffusersFolder.weights(in: path) : path)
    }
}

extension AdapterStore {
    /// The autoencoder of a base: the file or diffusers folder that is given, else the one that was imported with the base.
    /// - Returns: nil where there is neither; a pixel-space base needs none.
    package func autoencoder(_ given: String?, for base: Digest) throws -> AutoencoderKL? {
        guard let path = try given ?? self.base(base).vae?.path else { return nil }
        return try AutoencoderKL(fileOrFolder: path)
    }
}
