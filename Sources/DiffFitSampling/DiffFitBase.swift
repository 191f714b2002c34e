import AdapterFormat
import AdapterStore
import Autoencoder
import SamplingEngine
import TensorFiles

/// A frozen base model: its matrices mapped from their file and never written, its own values, its classes, and the autoencoders that
/// turn its latents into pictures.
public struct DiffFitBase: Sendable {
    package let file: BaseFile
    package let autoencoders: BaseAutoencoders

    /// SHA-256 of the base in the store's own form: the same for the same values, whatever file held them.
    public var digest: Digest { file.digest }
    /// The name on its card.
    public var name: String { file.card.name }
    /// Its classes in the order of its table, without the null class; numbers where they have no names.
    public var classNames: [String] { file.classes.names }
    /// Channels, height and width of what the network sees: pixels, or latents of an autoencoder.
    public var latentShape: [Int] { [file.configuration.inChannels, file.configuration.inputSize, file.configuration.inputSize] }
    /// What its pictures can be decoded by; none where what the network sees are pictures.
    public var decoders: [DecoderKind] { autoencoders.kinds }
    /// What was taken though the file does not say it, a sentence each.
    public var remarks: [String] { file.remarks }

    /// Opens a base of a store. The file is mapped, not read.
    /// - Parameter reference: its name, its digest or the digest's first digits (four or more); nil means the only one there is.
    /// - Throws: `StoreError`: `noBase`, `unknownBase`, `severalBases`, `damaged`.
    public init(_ reference: String? = nil, in store: AdapterStore) throws {
        (file, autoencoders) = try DiffFitError.translating {
            let file = try store.baseFile(reference)
            return (file, try store.autoencoders(nil, for: file.digest))
        }
    }

    /// Opens a base of a file or folder: a DiT in the reference's or diffusers' names, as safetensors or torch, whole or in shards, or a
    /// diffusers pipeline folder with its autoencoders. The file is read once, for its digest.
    /// - Parameters:
    ///   - autoencoder: the AutoencoderKL or AutoencoderTiny of a base that makes latents, a file or a folder, where the path has none.
    ///   - tinyAutoencoder: an AutoencoderTiny beside it.
    /// - Throws: `TensorFileError`; `DiffFitError` where the tensors are not those of a DiT, or the autoencoder makes other latents.
    public init(path: String, autoencoder: String? = nil, tinyAutoencoder: String? = nil) throws {
        (file, autoencoders) = try DiffFitError.translating {
            let file = try BaseFile(path: path)
            let given = try [autoencoder, tinyAutoencoder].compactMap { $0 }.map { try TensorFile(path: $0) }
            let found = try BaseAutoencoders(file.autoencoders.map(\.file) + given)
            try found.check(decodes: file)
            return (file, found)
        }
    }
}
