import AdapterFormat
import Autoencoder
import DiTModel
import ImageFiles
import TensorMath

/// Latents to pictures: those of a pixel-space base are pictures themselves, others go through one of the base's autoencoders.
struct PictureMaker {
    /// Side of a picture.
    let side: Int
    private let decoders: [DecoderKind: LatentDecoder]
    private let preset: Preset

    /// - Parameters:
    ///   - size: side of a latent.
    ///   - channels: of a latent.
    /// - Returns: nil for latents without an autoencoder.
    init?(channels: Int, size: Int, autoencoders: BaseAutoencoders, _ form: WeightForm, preset: Preset, pool: ThreadPool) throws {
        self.preset = preset
        try autoencoders.check(latentChannels: channels)
        var decoders: [DecoderKind: LatentDecoder] = [:]
        for kind in autoencoders.kinds {
            decoders[kind] = try autoencoders[kind].map { try LatentDecoder($0, latentHeight: size, latentWidth: size, pool: pool, form) }
        }
        guard let first = decoders.values.first else {
            guard channels == 3 else { return nil }
            (self.decoders, side) = ([:], size)
            return
        }
        (self.decoders, side) = (decoders, first.imageSize.height)
    }

    /// Whether a picture costs as much as a network call.
    var decodes: Bool { !decoders.isEmpty }

    /// - Parameters:
    ///   - latent: (C S S).
    ///   - kind: one that there is; nil where pictures are their latents.
    func picture(_ latent: [Float], by kind: DecoderKind?) -> RGBImage {
        // Pixels come at the resolution of their adapter.
        guard let decoder = kind.flatMap({ decoders[$0] }) else {
            return RGBImage(latent, side: Int(Double(latent.count / 3).squareRoot().rounded()), halvesUp: false)
        }
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

    var isPreview: Bool { if case .preview = kind { true } else { false } }
}
