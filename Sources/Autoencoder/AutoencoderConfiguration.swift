import Foundation
import SystemIO
import TensorFiles

/// The shape of one AutoencoderKL: what its tensors show, and what only its configuration says (`DiT.md`, "Autoencoder").
package struct AutoencoderConfiguration: Sendable, Hashable {
    package var inChannels, outChannels, latentChannels: Int
    /// Channels of each level, the image's own first.
    package var blockOutChannels: [Int]
    package var layersPerBlock: Int
    package var normNumGroups = 32
    /// The network's latents are the encoder's, less the shift, times this.
    package var scalingFactor: Float = 0.18215
    package var shiftFactor: Float = 0
    package var hasMidAttention: Bool

    /// Pixels of one latent pixel, along a side.
    package var downsampling: Int { 1 << (blockOutChannels.count - 1) }

    package var format: LatentFormat {
        LatentFormat(
            inChannels: inChannels, outChannels: outChannels, latentChannels: latentChannels, downsampling: downsampling, scalingFactor: scalingFactor,
            shiftFactor: shiftFactor)
    }
}

/// The fields of a diffusers config.json that the tensors do not show; each may be missing or null.
struct AutoencoderFields: Decodable {
    var normNumGroups: Int?
    var scalingFactor: Float?
    var shiftFactor: Float?
    var actFn: String?
    var latentsMean, latentsStd: [Float]?

    enum CodingKeys: String, CodingKey {
        case normNumGroups = "norm_num_groups"
        case scalingFactor = "scaling_factor"
        case shiftFactor = "shift_factor"
        case actFn = "act_fn"
        case latentsMean = "latents_mean"
        case latentsStd = "latents_std"
    }

    init(_ file: TensorFile) throws {
        self = try autoencoderFields(of: file) ?? AutoencoderFields()
        if let actFn, !["silu", "swish"].contains(actFn) {
            throw AutoencoderError.unsupported(file: file.path, field: "act_fn", value: actFn, wanted: "silu")
        }
        for case (let field, let values?) in [("latents_mean", latentsMean), ("latents_std", latentsStd)] {
            throw AutoencoderError.unsupported(file: file.path, field: field, value: "\(values)", wanted: "null")
        }
    }

    private init() {}
}

/// What an autoencoder's configuration says: the file's own metadata, else the `config.json` beside it; nil where there is neither.
func autoencoderFields<Fields: Decodable>(of file: TensorFile) throws -> Fields? {
    let beside = URL(filePath: file.path).deletingLastPathComponent().appending(path: "config.json")
    let path = beside.path(percentEncoded: false)
    let text: Data
    if let own = file.metadata["config"] {
        text = Data(own.utf8)
    } else if FileManager.default.fileExists(atPath: path) {
        do { text = try Data(contentsOf: beside) } catch { throw TensorFileError.unreadable(path: path, reason: SystemError(error)) }
    } else {
        return nil
    }
    do {
        return try JSONDecoder().decode(Fields.self, from: text.withoutByteOrderMark)
    } catch {
        throw AutoencoderError.badConfiguration(file: file.path, reason: plainReason(error))
    }
}
