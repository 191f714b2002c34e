import AdapterFormat
import AdapterStore
import LatentCodec

extension AdapterStore {
    /// The autoencoder of a base: the file or diffusers folder that is given, else the one that was imported with the base.
    /// - Returns: nil where there is neither; a pixel-space base needs none.
    package func codec(_ given: String?, for base: Digest) throws -> LatentCodec? {
        guard let path = try given ?? self.base(base).vae?.path else { return nil }
        return try LatentCodec(path: DiffusersFolder.isFolder(path) ? DiffusersFolder.weights(in: path) : path)
    }
}
