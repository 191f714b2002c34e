import AdapterFormat
import AdapterStore
import Autoencoder

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
