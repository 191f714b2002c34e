import AdapterFormat
import AdapterStore
import Foundation
import LatentCodec

extension AdapterStore {
    /// The autoencoder of a base: the file that is given, else the one that was imported with the base.
    /// - Returns: nil where there is neither; a pixel-space base needs none.
    package func codec(_ file: String?, for base: Digest) throws -> LatentCodec? {
        let stored = "\(path)/bases/\(base).vae.safetensors"
        guard let file = file ?? (FileManager.default.fileExists(atPath: stored) ? stored : nil) else { return nil }
        return try LatentCodec(path: file)
    }
}
