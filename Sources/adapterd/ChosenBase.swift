import AdapterFormat
import AdapterStore
import Foundation

extension AdapterStore {
    /// The base that `reference` names (name, digest or its first digits); the only one where there is only one.
    func baseFile(_ reference: String?) throws -> BaseFile {
        let found = try listBases().filter { entry in
            guard let reference else { return true }
            return entry.decodedCard?.name == reference || (reference.count >= 4 && entry.digest.description.hasPrefix(reference))
        }
        guard let first = found.first else {
            throw ConfigurationError.notFound(
                reference.map { "there is no base '\($0)' in \(path)" } ?? "the store \(path) has no base yet: adapterctl base import FILE")
        }
        guard found.count == 1 else {
            let names = found.map { "\($0.decodedCard?.name ?? "?")@\($0.digest.short)" }.joined(separator: ", ")
            throw ConfigurationError.notFound("several bases fit (\(names)): choose one with --base")
        }
        return try BaseFile(path: base(first.digest).path, card: first.readCard(), digest: first.digest)
    }
}
