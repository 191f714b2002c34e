import Foundation
import Glibc

/// A folder that is filled beside its place and moved there whole, or gone when the value is.
///
/// It is flock'd while it lives, so the next one in the same parent folder tells what a killed process left from what another one is
/// filling, and takes it away.
struct BuildingFolder: ~Copyable {
    static let suffix = ".unfinished"
    let path: String
    private let destination: String
    private let parent: String
    private let mark: Int32
    private var isPlaced = false

    /// - Parameter destination: where the folder will be, absolute. Its parent must be there.
    init(for destination: String) throws(StoreError) {
        self.destination = destination
        parent = (destination as NSString).deletingLastPathComponent
        BuildingFolder.removeAbandoned(in: parent)
        (path, mark) = try BuildingFolder.new(in: parent, for: (destination as NSString).lastPathComponent)
    }

    private static func new(in parent: String, for name: String) throws(StoreError) -> (path: String, mark: Int32) {
        // Another process's sweep may take a new folder before it is held.
        for _ in 0..<16 {
            let path = "\(parent)/.\(name).\(UUID().uuidString)\(suffix)"
            guard unsafe mkdir(path, 0o777) == 0 else { throw .of(code: errno, path: errno == ENOENT || errno == ENOTDIR ? parent : path) }
            if let mark = held(path) { return (path, mark) }
        }
        throw .system(path: parent, reason: "new folders were taken away at once")
    }

    deinit {
        if !isPlaced { try? FileManager.default.removeItem(atPath: path) }
        close(mark)
    }

    /// Moves the folder to its place, which is free or an empty folder.
    /// - Throws: `pathTaken` where another process was there first.
    mutating func place() throws(StoreError) {
        try FileCalls.synchronizeFolder(path)
        guard unsafe rename(path, destination) == 0 else {
            throw errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR ? .pathTaken(destination) : .of(code: errno, path: destination)
        }
        isPlaced = true
        try FileCalls.synchronizeFolder(parent)
    }

    /// A descriptor that holds the folder; nil where another process does, or has taken it away.
    private static func held(_ path: String) -> Int32? {
        guard let mark = try? FileCalls.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) else { return nil }
        var status = stat()
        if flock(mark, LOCK_EX | LOCK_NB) == 0, unsafe fstat(mark, &status) == 0, status.st_nlink > 0 { return mark }
        close(mark)
        return nil
    }

    private static func removeAbandoned(in parent: String) {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
        for file in files where file.hasPrefix(".") && file.hasSuffix(suffix) {
            // `.NAME.<UUID>.unfinished`: nothing else is touched.
            guard let id = file.dropLast(suffix.count).split(separator: ".").last, UUID(uuidString: String(id)) != nil,
                let mark = held("\(parent)/\(file)")
            else { continue }
            try? FileManager.default.removeItem(atPath: "\(parent)/\(file)")
            close(mark)
        }
    }
}
