import AdapterFormat
import AdapterStore
import Autoencoder
import SamplingEngine

/// A frozen base model: its matrices mapped from their file and never written, its own values, its classes, and the autoencoder that
/// turns its latents into pictures.
public struct DiffFitBase: Sendable {
    package let file: BaseFile
    package let autoencoder: AutoencoderKL?

    /// SHA-256 of the base in the store's own form: the same for the same values, whatever file held them.
    public var digest: Digest { file.digest }
    /// The name on its card.
    public var name: String { file.card.name }
    /// Its classes in the order of its table, without the null class; numbers where they have no names.
    public var classNames: [String] { file.classes.names }
    /// Channels, height and width of what the network sees: pixels, or latents of an autoencoder.
    public var latentShape: [Int] { [file.configuration.inChannels, file.configuration.inputSize, file.configuration.inputSize] }
    /// What was taken though the file does not say it, a sentence each.
    public var remarks: [String] { file.remarks }

    /// Opens a base of a store. The file is mapped, not read.
    /// - Parameter reference: its name, its digest or the digest's first digits (four or more); nil means the only one there is.
    /// - Throws: `StoreError`: `noBase`, `unknownBase`, `severalBases`, `damaged`.
    public init(_ reference: String? = nil, in store: AdapterStore) throws {
        (file, autoencoder) = try DiffFitError.translating {
            let file = try store.baseFile(reference)
            return (file, try store.autoencoder(nil, for: file.digest))
        }
    }

    /// Opens a base of a file or folder: a DiT in the reference's or diffusers' names, as safetensors or torch, whole or in shards, or a
    /// diffusers pipeline folder with its autoencoder. The file is read once, for its digest.
    /// - Parameter autoencoder: the AutoencoderKL of a base that makes latents, a file or a folder, where the path has none.
    /// - Throws: `TensorFileError`; `DiffFitError` where the tensors are not those of a DiT, or the autoencoder makes other latents.
    public init(path: String, autoencoder: String? = nil) throws {
        (file, self.autoencoder) = try DiffFitError.translating {
            let file = try BaseFile(path: path)
            let decoder = try autoencoder.map { try AutoencoderKL(path: $0) } ?? file.autoencoder.map { try AutoencoderKL(file: $0.file) }
            try decoder?.check(decodes: file)
            return (file, decoder)
        }
    }
}
