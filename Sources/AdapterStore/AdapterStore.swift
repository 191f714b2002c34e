import AdapterFormat
import Foundation
import SystemIO
import TensorFiles

/// How a store is opened.
public struct StoreOptions: Sendable {
    /// Most bytes of LMDB's map, and so of the data file.
    public var mapSizeLimit = 64 << 30
    /// How long a change waits for another writer before it throws `StoreError.locked`.
    public var lockTimeout: Duration = .seconds(10)
    /// zstd level of new adapters, 1 to 22. At 19 adapters of DiT-XL/2 get 0.6 % smaller and take eleven times as long to add.
    public var compressionLevel = 9
    /// Computes an adapter's content digest; where given, `add` and `verify` compare it with the digest that the adapter names.
    package var contentDigest: (@Sendable (StoredAdapter) -> Digest)?

    /// The defaults of the programs.
    public init() {}
}

/// A folder with compressed adapters and the base files they belong to.
///
///     STORE/data.mdb                       LMDB: meta, bases, blobs, records, names
///     STORE/write.lock                     who writes now
///     STORE/bases/<digest>.safetensors     base files
///     STORE/bases/<digest>.vae.safetensors autoencoders that bases' cards name
///
/// Two rules. Every call is one short transaction which copies out, so calls block for a disk and never for a reader. And every
/// change is one transaction: the store is before or after it, through kill -9, a full disk or a full map. Any number of
/// processes may use one store; within a process all handles share one environment.
public final class AdapterStore: Sendable {
    /// The format of the tables and frames that this program writes.
    package static let formatVersion = 1
    /// Largest manifest, in bytes.
    package static let manifestLimit = 1 << 24

    /// The folder, absolute.
    public let path: String
    package let options: StoreOptions
    let environment: Environment

    private init(path: String, options: StoreOptions, environment: Environment) {
        self.path = path
        self.options = options
        self.environment = environment
    }

    deinit { EnvironmentRegistry.release(environment) }

    /// Makes an empty store and opens it. The folder appears complete or not at all.
    /// - Throws: `storeExists`, `folderInUse`, `pathTaken`, `networkFileSystem`, and what the system refuses.
    public static func create(at path: String, options: StoreOptions = StoreOptions()) throws(StoreError) -> AdapterStore {
        let path = try absolute(path)
        if try FileCalls.status(path + "/data.mdb") != nil { throw .storeExists(path: path) }
        if try FileCalls.status(path)?.isRegular == true { throw .pathTaken(path) }
        let files = FileManager.default
        if let content = try? files.contentsOfDirectory(atPath: path), !content.isEmpty {
            // Perhaps another process made it this moment.
            throw try FileCalls.status(path + "/data.mdb") == nil ? .folderInUse(path: path) : .storeExists(path: path)
        }
        try makeFolder((path as NSString).deletingLastPathComponent)
        var building = try BuildingFolder(for: path)
        try makeFolder(building.path + "/bases")
        try fill(building.path)
        do throws(StoreError) {
            try building.place()
        } catch {
            // Another process has made one meanwhile.
            if case .pathTaken = error { throw try FileCalls.status(path + "/data.mdb") != nil ? .storeExists(path: path) : .folderInUse(path: path) }
            throw error
        }
        return try open(at: path, options: options)
    }

    /// Opens an existing store after checking its data file's pages.
    /// - Throws: `noStore`, `damaged`, `unknownFormat`, `networkFileSystem`, and what the system refuses.
    public static func open(at path: String, options: StoreOptions = StoreOptions()) throws(StoreError) -> AdapterStore {
        let path = try absolute(path)
        let store = AdapterStore(path: path, options: options, environment: try EnvironmentRegistry.acquire(path))
        let format = try store.environment.read { transaction throws(StoreError) in
            try transaction.checksummed(.meta, Array("format".utf8)).map { String(decoding: $0, as: UTF8.self) }
        }
        guard format == String(formatVersion) else { throw .unknownFormat(path: path, found: format ?? "unknown") }
        return store
    }

    /// Why a path is no store: nothing is there, or something else.
    static func absence(at path: String) throws(StoreError) -> StoreError {
        guard try FileCalls.status(path) != nil else { return .noStore(path: path) }
        var isFolder = ObjCBool(false)
        // A device or a pipe too.
        if unsafe FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), !isFolder.boolValue { return .notAFolder(path: path) }
        let content = ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
        return content.isEmpty ? .noStore(path: path) : .otherFolder(path: path, content: Array(content.prefix(3)))
    }

    /// A number raised by every change, from whichever process: two equal ones mean an unchanged store.
    /// - Throws: as every read, `storeReplaced` where the folder now holds another data file, and `damaged` where the file was cut.
    package func generation() throws(StoreError) -> UInt64 {
        try environment.read { transaction throws(StoreError) in try transaction.generation() }
    }

    /// One change of the store: the writer's lock, then a transaction. The body may run again after the map has grown.
    func change<R>(_ body: (borrowing WriteTransaction) throws(StoreError) -> R) throws(StoreError) -> R {
        try environment.lock.withLock(timeout: options.lockTimeout) { () throws(StoreError) in
            try environment.write(limit: options.mapSizeLimit, body)
        }
    }

    static func absolute(_ path: String) throws(StoreError) -> String {
        guard !path.isEmpty, !path.utf8.contains(0) else { throw .badFile(path: path, reason: "is not a path") }
        return URL(filePath: path).standardizedFileURL.path(percentEncoded: false).droppingLastSlash
    }

    static func makeFolder(_ path: String) throws(StoreError) {
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            let refusal = SystemError(error)
            throw refusal.code == 0 ? .system(path: path, reason: refusal.reason) : .of(code: refusal.code, path: path)
        }
    }

    private static func fill(_ folder: String) throws(StoreError) {
        let environment = try Environment.create(folder)
        defer { environment.close() }
        try environment.write(limit: .max) { transaction throws(StoreError) in
            let created = Date.now.formatted(.iso8601)
            for (key, value) in [("format", String(formatVersion)), ("created", created), ("generation", "0")] {
                try transaction.putChecksummed(.meta, Array(key.utf8), Array(value.utf8))
            }
        }
    }
}

extension String {
    fileprivate var droppingLastSlash: String { count > 1 && hasSuffix("/") ? String(dropLast()) : self }
}
