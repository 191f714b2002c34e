import AdapterFormat
import Foundation
import TensorFiles

extension AdapterManifest {
    /// A manifest as a store keeps it.
    /// - Throws: `damaged` where it cannot be read, or was written by a later version whose fields mean other things.
    package init(stored json: Data, of digest: Digest) throws(StoreError) {
        do { self = try JSONDecoder().decode(AdapterManifest.self, from: json) } catch {
            throw .damaged(item: "manifest of the adapter \(digest.short)", reason: plainReason(error))
        }
        guard schemaVersion == 1 else {
            throw .incompatible("The manifest of the adapter \(digest.short) has schema \(schemaVersion), of a later version; this one reads schema 1.")
        }
    }
}

extension AdapterEntry {
    package func decodedManifest() throws(StoreError) -> AdapterManifest { try AdapterManifest(stored: manifest, of: digest) }
}
