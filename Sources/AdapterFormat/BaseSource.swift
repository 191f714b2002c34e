import Foundation
import TensorFiles

/// A base as it was found: its tensors under the reference's names, and what came with them.
struct BaseSource {
    let file: TensorFile
    let fields: BaseFields
    let card: BaseCard
    /// The autoencoder of a pipeline folder.
    let autoencoder: AutoencoderFile?

    /// - Parameter path: a diffusers folder, or a file in either naming and any container that `TensorFile` opens.
    init(path: String) throws {
        if DiffusersFolder.isFolder(path) {
            let folder = try DiffusersFolder(path: path)
            (file, fields, card, autoencoder) = (folder.transformer, folder.fields, folder.card, folder.vae)
            return
        }
        let found = try TensorFile(path: path)
        autoencoder = nil
        var published = BaseCard.dit
        published.name = URL(filePath: path).deletingPathExtension().lastPathComponent
        card = try BaseFile.metadata("card", of: found) ?? published
        if DiffusersNames.isDiffusers(found) {
            file = try DiffusersNames.original(found)
            fields = try DiffusersFolder.fields(URL(filePath: path).deletingLastPathComponent().path(percentEncoded: false), required: false)
        } else {
            file = found
            fields = try BaseFile.metadata("config", of: found) ?? BaseFields()
        }
    }
}
