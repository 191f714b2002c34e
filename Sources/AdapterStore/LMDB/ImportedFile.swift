import AdapterFormat
import Foundation
import Glibc

import struct Crypto.SHA256

/// A copy on its way into the store: a temporary file that is moved into place, or gone when the value is.
///
/// The file is flock'd while it lives, so the next import, or a `prune`, tells what a killed process left from what another one is writing.
struct ImportedFile: ~Copyable {
    static let suffix = ".importing"
    let digest: Digest
    let size: Int
    private let path: String
    private let descriptor: Int32
    private var isPlaced = false

    /// Copies and hashes a regular file into a folder and brings the copy to the disk.
    init(copying source: String, into folder: String) throws(StoreError) {
        let input = try FileCalls.open(source, O_RDONLY | O_NONBLOCK)
        defer { close(input) }
        guard try FileCalls.status(descriptor: input, path: source).isRegular else {
            throw .badFile(path: source, reason: "is not a regular file")
        }
        try self.init(into: folder) { sink throws(StoreError) in try FileCalls.digest(of: input, path: source, sink: sink) }
    }

    /// Writes and hashes bytes that come a piece at a time.
    init(writing pieces: some Sequence<[UInt8]>, into folder: String) throws(StoreError) {
        try self.init(into: folder) { sink throws(StoreError) in
            var hash = SHA256()
            var size = 0
            for piece in pieces {
                hash.update(data: piece)
                try sink(piece)
                size += piece.count
            }
            return (Digest(hash.finalize()), size)
        }
    }

    /// - Parameter fill: hands every piece to its argument.
    private init(
        into folder: String, fill: (_ sink: ([UInt8]) throws(StoreError) -> Void) throws(StoreError) -> (Digest, size: Int)
    ) throws(StoreError) {
        ImportedFile.removeLeftOvers(in: folder)
        let (path, output) = try ImportedFile.new(in: folder)
        do throws(StoreError) {
            let (digest, size) = try fill { piece throws(StoreError) in try FileCalls.write(piece, to: output, path: path) }
            guard fsync(output) == 0 else { throw .of(code: errno, path: path) }
            self.path = path
            self.digest = digest
            self.size = size
            descriptor = output
        } catch {
            unsafe unlink(path)
            close(output)
            throw error
        }
    }

    deinit {
        if !isPlaced { unsafe unlink(path) }
        close(descriptor)
    }

    /// Moves the copy to its place.
    mutating func place(at target: String, in folder: String) throws(StoreError) {
        try FileCalls.rename(path, to: target)
        isPlaced = true
        try FileCalls.synchronizeFolder(folder)
    }

    /// A new file that this process holds; another one's sweep may take it away before it does.
    private static func new(in folder: String) throws(StoreError) -> (path: String, descriptor: Int32) {
        for _ in 0..<16 {
            let path = "\(folder)/\(getpid())-\(UInt64.random(in: 0...UInt64.max))\(suffix)"
            let descriptor = try FileCalls.open(path, O_RDWR | O_CREAT | O_EXCL)
            if hold(descriptor) { return (path, descriptor) }
            close(descriptor)
        }
        throw .system(path: folder, reason: "new files were taken away at once")
    }

    private static func hold(_ descriptor: Int32) -> Bool {
        var status = stat()
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0, unsafe fstat(descriptor, &status) == 0 else { return false }
        return status.st_nlink > 0
    }

    /// Temporary files of a folder that no process is writing any more.
    static func leftOvers(in folder: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted().map { "\(folder)/\($0)" }.filter { path in
            path.hasSuffix(suffix) && withLeftOver(path) {}
        }
    }

    /// - Returns: false where a process still writes the file, or it is gone.
    static func removeLeftOver(_ path: String) -> Bool { withLeftOver(path) { unsafe unlink(path) } }

    private static func removeLeftOvers(in folder: String) {
        for path in leftOvers(in: folder) { _ = removeLeftOver(path) }
    }

    /// Runs the body while the file is held, so that no process takes it for its own meanwhile.
    private static func withLeftOver(_ path: String, _ body: () -> Void) -> Bool {
        guard let descriptor = try? FileCalls.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK) else { return false }
        defer { close(descriptor) }
        guard hold(descriptor) else { return false }
        body()
        return true
    }
}
