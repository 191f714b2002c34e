import AdapterFormat
import AdapterStore
import Foundation

extension AdapterStore {
    /// The base that `reference` names (name, digest or its first digits); the only one where there is only one.
    func baseFile(_ reference: String?) throws -> BaseFile {
        let chosen = try base(reference), entry = try base(chosen.digest)
        return try BaseFile(path: entry.path, card: entry.readCard(), digest: entry.digest)
    }
}
