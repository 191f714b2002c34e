/// What can be wrong with an autoencoder's file, or with what it is given.
package enum AutoencoderError: Error, Sendable, Hashable, CustomStringConvertible {
    case notAnAutoencoder(file: String)
    case missingTensor(file: String, name: String, shape: [Int])
    case wrongShape(file: String, name: String, shape: [Int], expected: [Int])
    case unknownTensor(file: String, name: String)
    case unknownGroups(file: String, channels: Int, groups: Int)
    case unsupported(file: String, field: String, value: String, wanted: String)
    case contradiction(file: String, field: String, value: String, found: String)
    case unequalLevels(file: String, encoder: Int, decoder: Int)
    case badConfiguration(file: String, reason: String)
    case badSides(height: Int, width: Int, multiple: Int)

    package var description: String {
        switch self {
        case .notAnAutoencoder(let file):
            "'\(file)' holds no decoder.conv_in.weight, and no decoder.layers.0.weight: an AutoencoderKL in diffusers' or CompVis' names is wanted, or an AutoencoderTiny in diffusers'"
        case .missingTensor(let file, let name, let shape): "'\(file)' has no tensor '\(name)' of shape \(shape)"
        case .wrongShape(let file, let name, let shape, let expected):
            "'\(name)' in '\(file)' has shape \(shape); the other tensors ask for \(expected)"
        case .unknownTensor(let file, let name): "'\(name)' in '\(file)' has no place in an autoencoder of its shape"
        case .unknownGroups(let file, let channels, let groups):
            "'\(file)' has a layer of \(channels, "channel"), which \(groups, "norm group") \(groups == 1 ? "does" : "do") not divide; its config.json should say norm_num_groups"
        case .unsupported(let file, let field, let value, let wanted): "'\(file)' has \(field) \(value); only \(wanted) is known here"
        case .contradiction(let file, let field, let value, let found):
            "'\(file)' has \(field) \(value), but its tensors are those of \(found)"
        case .unequalLevels(let file, let encoder, let decoder):
            "'\(file)' has \(encoder, "level") in its encoder and \(decoder) in its decoder: its pictures would have another size than what it encodes"
        case .badConfiguration(let file, let reason): "the configuration of '\(file)' cannot be read: \(reason)"
        case .badSides(let height, let width, let multiple):
            "an image of \(height) x \(width) has no latent here: both sides must be positive multiples of \(multiple)"
        }
    }
}
