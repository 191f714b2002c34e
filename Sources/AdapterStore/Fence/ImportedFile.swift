import AdapterFormat
import Glibc

import struct Crypto.SHA256

/// A copy on its way into the store: a temporary file that is moved into place, or gone when the value is.
///
/// The file is flock'd while it lives, so `prune` in another process tells a running import from a left-over.
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
        let path = "\(folder)/\(getpid())-\(UInt64.random(in: 0...UInt64.max))\(ImportedFile.suffix)"
        let output = try FileCalls.open(path, O_RDWR | O_CREAT | O_EXCL)
        do throws(StoreError) {
            flock(output, LOCK_EX | LOCK_NB)
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

    /// True where no process is writing this temporary file any more.
    static func isLeftOver(_ path: String) -> Bool {
        guard let descriptor = try? FileCalls.open(path, O_RDONLY) else { return false }
        defer { close(descriptor) }
        return flock(descriptor, LOCK_EX | LOCK_NB) == 0
    }
}
