import AdapterFormat
import AdapterStore
import Foundation
import storehammer

/// A folder of its own for one test, with the sample base files beside a store; removed at the end.
final class TemporaryStore {
    let folder: String
    var path: String { folder + "/store" }

    init(in parent: URL = FileManager.default.temporaryDirectory) throws {
        folder = parent.appending(path: "adapterstore-\(UUID().uuidString)").path(percentEncoded: false)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try Samples.baseFile.write(to: URL(filePath: folder + "/base"))
        for number in 0..<3 { try Operation.baseFile(number).write(to: URL(filePath: "\(folder)/base-\(number)")) }
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    static var options: StoreOptions {
        var options = StoreOptions()
        options.compressionLevel = 1
        options.contentDigest = Samples.contentDigest
        return options
    }

    /// A new store with the sample base in it.
    func create(_ options: StoreOptions = TemporaryStore.options) throws -> AdapterStore {
        let store = try AdapterStore.create(at: path, options: options)
        try store.importBase(from: folder + "/base", card: Data("{}".utf8), expected: Samples.base.digest)
        return store
    }

    func open(_ options: StoreOptions = TemporaryStore.options) throws -> AdapterStore {
        try AdapterStore.open(at: path, options: options)
    }
}

extension AdapterStore {
    func add(_ number: Int, as name: String, replace: Bool = false) throws -> AddOutcome {
        try add(Samples.adapter(number), as: name, over: Samples.base, replace: replace)
    }

    func verifySamples() throws -> VerifyReport { try verify { $0 == Samples.base.digest ? Samples.base : nil } }
}

/// Bit patterns, since `==` on floats takes -0 for 0.
func bits(_ adapter: StoredAdapter) -> [UInt32] { (adapter.vector.values + adapter.classes.values).map(\.bitPattern) }
