import AdapterFormat
import Foundation
import Glibc

/// What a snapshot holds.
public struct SnapshotReport: Sendable, Hashable {
    /// The new store's folder, absolute.
    public let path: String
    /// The moment of the source that it shows.
    public let generation: UInt64
    /// Names, adapters and bases in it.
    public let names: Int
    public let adapters: Int
    public let bases: Int
    /// Base files that share their bytes on the disk with the source; the others were copied.
    public let linkedBases: Int
    /// Bytes of the data file and of all base files.
    public let bytes: Int
}

extension AdapterStore {
    /// Writes a compact store of its own with everything that this one holds at one moment, while others read and change it.
    ///
    /// The folder appears complete or not at all; what a killed snapshot to the same place left beside it is removed.
    /// - Parameter copyingBases: copies and hashes base files even where a second name for the same bytes would do.
    /// - Throws: `pathTaken` where anything is there already, `badFile` without a parent folder, `damaged`, `digestMismatch`,
    ///   `networkFileSystem`, `diskFull`, `permission`.
    public func snapshot(at destination: String, copyingBases: Bool = false) throws(StoreError) -> SnapshotReport {
        let destination = try AdapterStore.absolute(destination)
        if try FileCalls.status(destination) != nil { throw .pathTaken(destination) }
        try FileCalls.refuseNetworkFileSystem((destination as NSString).deletingLastPathComponent)
        var building = try BuildingFolder(for: destination)
        try AdapterStore.makeFolder(building.path + "/bases")
        // Who may not look into the source may not look into its copy.
        if let mode = try? FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] {
            try? FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: building.path)
        }
        let report = try fill(building.path, for: destination, copyingBases)
        try FileCalls.synchronizeFolder(building.path + "/bases")
        if try FileCalls.status(destination) != nil { throw .pathTaken(destination) }
        try building.place()
        return report
    }

    /// Base files never change under their name, so only one that goes meanwhile can be missed, and then all is tried again.
    private func fill(_ building: String, for destination: String, _ copyingBases: Bool) throws(StoreError) -> SnapshotReport {
        for _ in 0..<8 {
            var placed: [Digest: Bool] = [:]
            for base in try listBases() { placed[base.digest] = try place(base.digest, in: building, copyingBases) }
            try copyTables(to: building)
            let copy = try AdapterStore.open(at: building, options: options)
            let entries = try copy.listBases()
            let bases = entries.map(\.digest)
            // Bases, and autoencoders of bases, that came while the others were placed.
            for entry in entries where placed[entry.digest] == nil || entry.autoencoders.contains(where: { !FileManager.default.fileExists(atPath: $0.path) }) {
                placed[entry.digest] = try place(entry.digest, in: building, copyingBases)
            }
            for digest in placed.keys where !bases.contains(digest) {
                try? FileManager.default.removeItem(atPath: "\(building)/bases/\(digest).safetensors")
            }
            guard bases.allSatisfy({ placed[$0] != nil }) else { continue }
            let statistics = try copy.statistics()
            return SnapshotReport(
                path: destination, generation: statistics.generation, names: statistics.names, adapters: statistics.adapters, bases: bases.count,
                linkedBases: bases.count { placed[$0] == true }, bytes: statistics.usedBytes + statistics.baseBytes)
        }
        throw .system(path: destination, reason: "bases came and went faster than they could be copied")
    }

    /// A base's file, and those of its autoencoders.
    /// - Returns: whether they are shared with the source; nil where the base has been removed meanwhile.
    private func place(_ digest: Digest, in building: String, _ copying: Bool) throws(StoreError) -> Bool? {
        do throws(StoreError) {
            let entry = try base(digest)
            var isShared = try place(entry.path, digest, in: building, copying)
            for vae in entry.autoencoders { isShared = try place(vae.path, vae.digest, in: building, copying) && isShared }
            return isShared
        } catch {
            do throws(StoreError) { _ = try base(digest) } catch { if case .baseNotFound = error { return nil } }
            throw error
        }
    }

    /// - Returns: whether the file is shared with the source.
    private func place(_ source: String, _ digest: Digest, in building: String, _ copying: Bool) throws(StoreError) -> Bool {
        let target = "\(building)/bases/\(URL(filePath: source).lastPathComponent)"
        // There from an earlier try, or another base's.
        try? FileManager.default.removeItem(atPath: target)
        if !copying, try FileCalls.link(source, to: target) { return true }
        var file = try ImportedFile(copying: source, into: building + "/bases")
        guard file.digest == digest else { throw .digestMismatch(item: "base file '\(source)'", expected: digest, found: file.digest) }
        try file.place(at: target, in: building + "/bases")
        return false
    }

    /// Writes a data file with the rows of one moment. Adapters are read one at a time, so that no writer waits for all of them: an
    /// adapter never changes under its digest, and where one goes meanwhile, all is tried again.
    private func copyTables(to folder: String) throws(StoreError) {
        for _ in 0..<8 {
            try? FileManager.default.removeItem(atPath: folder + "/data.mdb")
            let (rows, adapters) = try rowsAndAdapters()
            let copy = try Environment.create(folder, synchronous: false)
            defer { copy.close() }
            try copy.write(limit: .max) { transaction throws(StoreError) in
                for row in rows { try transaction.put(row.table, row.key, row.value) }
            }
            guard try copyAdapters(adapters, to: copy) else { continue }
            return try copy.synchronize()
        }
        throw .system(path: path, reason: "adapters came and went faster than they could be copied")
    }

    private func rowsAndAdapters() throws(StoreError) -> (rows: [(table: Table, key: [UInt8], value: [UInt8])], adapters: [[UInt8]]) {
        try environment.read { transaction throws(StoreError) in
            var rows: [(table: Table, key: [UInt8], value: [UInt8])] = []
            var adapters: [[UInt8]] = []
            for table in Table.allCases where table != .blobs {
                try transaction.scan(table) { key, value throws(StoreError) in
                    rows.append((table, key, value))
                    return true
                }
            }
            try transaction.scan(.blobs, limit: 0) { key, _ throws(StoreError) in
                adapters.append(key)
                return true
            }
            return (rows, adapters)
        }
    }

    /// - Returns: false where an adapter has been removed meanwhile.
    private func copyAdapters(_ keys: [[UInt8]], to copy: Environment) throws(StoreError) -> Bool {
        var rest = keys[...]
        while !rest.isEmpty {
            var frames: [(key: [UInt8], value: [UInt8])] = []
            var bytes = 0
            while bytes < 8 << 20, let key = rest.popFirst() {
                guard let frame = try environment.read({ transaction throws(StoreError) in try transaction.value(.blobs, key) }) else { return false }
                frames.append((key, frame))
                bytes += frame.count
            }
            try copy.write(limit: .max) { transaction throws(StoreError) in
                for frame in frames { try transaction.put(.blobs, frame.key, frame.value) }
            }
        }
        return true
    }
}
