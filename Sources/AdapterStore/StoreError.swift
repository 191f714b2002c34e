import AdapterFormat

/// What can go wrong in the store, each case one plain sentence. Later versions may add cases: switch over it with a `default`.
public enum StoreError: Error, Sendable, Equatable, CustomStringConvertible {
    case noStore(path: String)
    /// A file, where a store's folder was to be.
    case notAFolder(path: String)
    /// A folder with these and no store's data.
    case otherFolder(path: String, content: [String])
    case storeExists(path: String)
    /// A folder that holds other things than a store.
    case folderInUse(path: String)
    /// Something that a new folder would have to replace.
    case pathTaken(String)
    case unknownFormat(path: String, found: String)
    case networkFileSystem(path: String, kind: String)
    /// The data file at this path is no longer the one that was opened.
    case storeReplaced(path: String)
    case badName(String)
    case notFound(reference: String, nearest: [String])
    case ambiguous(prefix: String, matches: [String])
    case nameTaken(name: String, digest: Digest)
    case baseNotFound(Digest)
    /// The store at this path has no base at all.
    case noBase(path: String)
    /// No base has this name, digest, or digest's beginning.
    case unknownBase(reference: String, path: String, nearest: [String])
    case severalBases([String])
    case baseNameTaken(name: String, digest: Digest)
    /// The base is there already, under this name.
    case baseNamed(String, digest: Digest, wanted: String)
    case baseInUse(Digest, adapters: [String])
    case badFile(path: String, reason: String)
    case damaged(item: String, reason: String)
    case digestMismatch(item: String, expected: Digest, found: Digest)
    case incompatible(String)
    case notRounded(index: Int)
    case tooLarge(item: String, size: Int, limit: Int)
    case locked(path: String, process: Int?)
    case permission(path: String)
    case diskFull(path: String)
    case mapFull(path: String, bytes: Int)
    case memoryRefused(path: String)
    case system(path: String, reason: String)

    /// One sentence.
    public var description: String {
        switch self {
        case .noStore(let path): "There is no adapter store at '\(path)'; create one first: adapterctl init --store '\(path)'"
        case .notAFolder(let path): "'\(path)' is a file, and a store is a folder: give the folder that adapterctl init made."
        case .otherFolder(let path, let content):
            "'\(path)' is no adapter store: it holds \(content.map { "'\($0)'" }.joined(separator: ", ")) and no data.mdb; give the folder that adapterctl init made."
        case .storeExists(let path): "There is already an adapter store at '\(path)'."
        case .folderInUse(let path): "The folder '\(path)' holds other files; a new store needs an empty or a new folder."
        case .pathTaken(let path): "There is already something at '\(path)'; nothing is replaced."
        case .unknownFormat(let path, let found):
            "The store at '\(path)' has format \(found); this program reads format \(AdapterStore.formatVersion)."
        case .networkFileSystem(let path, let kind):
            "'\(path)' lies on \(kind), where memory-mapped databases break; a store needs a local file system."
        case .storeReplaced(let path): "The data file of the store at '\(path)' was replaced or removed while open; open the store again."
        case .badName(let name):
            "\(name.debugDescription) is not a name; a name has 1 to 64 of a-z, 0-9, '.', '_', '-', "
                + "starts with a letter or digit, and is not 'base'."
        case .notFound(let reference, let nearest):
            "There is no adapter \(reference.debugDescription) in the store"
                + (nearest.isEmpty ? "." : "; the nearest \(nearest.count == 1 ? "name is" : "names are") \(nearest.joined(separator: ", ")).")
        case .ambiguous(let prefix, let matches):
            "The prefix '\(prefix)' fits more than one adapter: \(matches.joined(separator: ", "))."
        case .nameTaken(let name, let digest): "The name '\(name)' is taken by the adapter \(digest.short)."
        case .baseNotFound(let digest): "The base \(digest) is not in the store; import it first: adapterctl base import FILE"
        case .noBase(let path): "The store '\(path)' has no base yet; import one first: adapterctl base import FILE"
        case .unknownBase(let reference, let path, let nearest):
            "There is no base '\(reference)' in '\(path)'"
                + (nearest.isEmpty ? " (adapterctl base list shows them)." : "; did you mean \(nearest.joined(separator: " or "))?")
        case .severalBases(let bases): "Several bases fit (\(bases.joined(separator: ", "))): choose one with --base."
        case .baseNameTaken(let name, let digest): "The name '\(name)' is taken by the base \(digest.short); give another one with --name."
        case .baseNamed(let name, let digest, let wanted):
            "The base \(digest.short) is in the store as '\(name)' and is not renamed by an import (adapterctl base rename \(name) \(wanted) does that)."
        case .baseInUse(let digest, let adapters):
            "The base \(digest.short) is needed by \(adapters.joined(separator: ", ")); remove these and prune first."
        case .badFile(let path, let reason): "The file '\(path)' \(reason)."
        case .damaged(let item, let reason): "The \(item) is damaged: \(reason)."
        case .digestMismatch(let item, let expected, let found):
            "The \(item) should have the digest \(expected) and has \(found)."
        case .incompatible(let reason): reason
        case .notRounded(let index): "Value \(index) is not a bfloat16 value; round the values before storing them as bfloat16."
        case .tooLarge(let item, let size, let limit): "The \(item) has \(size, "byte"); the limit is \(limit)."
        case .locked(let path, let process):
            "The store at '\(path)' is locked by " + (process.map { "process \($0)." } ?? "another process.")
        case .permission(let path): "This user may not read or change '\(path)'."
        case .diskFull(let path): "There is no room left on the disk of '\(path)'; the store is as it was before."
        case .mapFull(let path, let bytes):
            "The store at '\(path)' is full at its limit of \(bytes) bytes and is as it was before; raise the limit or prune."
        case .memoryRefused(let path): "The system refused the memory that '\(path)' needs; raise the limit of the address space (ulimit -v)."
        case .system(let path, let reason): "The system failed at '\(path)': \(reason)."
        }
    }

    /// The exit code of `adapterctl` for this error.
    package var exitCode: Int32 {
        switch self {
        case .networkFileSystem, .storeReplaced, .memoryRefused, .system: 1
        case .badName, .ambiguous, .severalBases, .notRounded, .tooLarge, .folderInUse, .badFile: 2
        case .notFound, .baseNotFound, .noBase, .unknownBase: 4
        case .storeExists, .pathTaken, .nameTaken, .baseInUse, .baseNameTaken, .baseNamed: 5
        case .damaged, .digestMismatch: 6
        case .incompatible, .unknownFormat: 7
        case .noStore, .notAFolder, .otherFolder: 10
        case .locked: 11
        case .permission: 12
        case .diskFull, .mapFull: 13
        }
    }
}
