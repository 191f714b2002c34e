import AdapterFormat
import CLMDB
import Foundation
import Glibc

import struct Crypto.SHA256

/// The system calls of the store, with their errors named.
package enum FileCalls {
    /// Which file a path leads to, and how long it is.
    struct Status: Equatable {
        let device: UInt
        let inode: UInt
        let size: Int
        let isRegular: Bool
    }

    /// nil where nothing lies at the path.
    static func status(_ path: String) throws(StoreError) -> Status? {
        var info = stat()
        if unsafe stat(path, &info) == 0 { return Status(info) }
        if errno == ENOENT || errno == ENOTDIR { return nil }
        throw .of(code: errno, path: path)
    }

    static func status(descriptor: Int32, path: String) throws(StoreError) -> Status {
        var info = stat()
        guard unsafe fstat(descriptor, &info) == 0 else { throw .of(code: errno, path: path) }
        return Status(info)
    }

    /// The kind of a file system that is shared over a network or run by a user process, by its magic number in statfs(2).
    package static func networkKind(magic: UInt32) -> String? {
        switch magic {
        case 0x6969: "NFS"
        case 0x517B: "SMB"
        case 0xFF53_4D42: "CIFS"
        case 0xFE53_4D42: "SMB2"
        case 0x6573_5546: "FUSE"
        case 0x0102_1997: "9P"
        case 0x00C3_6400: "Ceph"
        case 0x5346_414F, 0x6B41_4653: "AFS"
        case 0x0BD0_0BD0: "Lustre"
        case 0x4750_4653: "GPFS"
        case 0x7375_7245: "Coda"
        case 0x0116_1970: "GFS2"
        case 0x7461_636F: "OCFS2"
        default: nil
        }
    }

    static func refuseNetworkFileSystem(_ path: String) throws(StoreError) {
        var info = statfs()
        guard unsafe statfs(path, &info) == 0 else { throw .of(code: errno, path: path) }
        if let kind = networkKind(magic: UInt32(truncatingIfNeeded: info.f_type)) {
            throw .networkFileSystem(path: path, kind: kind)
        }
    }

    /// Moves a file or folder over its new place in one step.
    static func rename(_ old: String, to new: String) throws(StoreError) {
        guard unsafe Glibc.rename(old, new) == 0 else { throw .of(code: errno, path: new) }
    }

    /// Gives a file a second name on the same file system.
    /// - Returns: false where the two places lie on different ones, or theirs knows no such names.
    static func link(_ old: String, to new: String) throws(StoreError) -> Bool {
        if unsafe Glibc.link(old, new) == 0 { return true }
        if [EXDEV, EPERM, EMLINK, EOPNOTSUPP].contains(errno) { return false }
        throw .of(code: errno, path: old)
    }

    static func synchronizeFolder(_ path: String) throws(StoreError) {
        let descriptor = try open(path, O_RDONLY | O_DIRECTORY)
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .of(code: errno, path: path) }
    }

    static func open(_ path: String, _ flags: Int32) throws(StoreError) -> Int32 {
        let descriptor = unsafe Glibc.open(path, flags | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw .of(code: errno, path: path) }
        return descriptor
    }

    /// Whether this process may write another 64 KiB into files of a folder: as the disk, the quota and the limit of a file's size have it.
    /// - Parameter end: where in a file they would end.
    static func hasRoom(_ folder: String, at end: Int) -> Bool {
        let count = 1 << 16
        let descriptor = unsafe Glibc.open(folder, temporaryFile | O_RDWR | O_CLOEXEC, 0o600)
        if descriptor >= 0 {
            defer { close(descriptor) }
            return posix_fallocate(descriptor, off_t(max(0, end - count)), off_t(count)) == 0
        }
        if errno == ENOSPC || errno == EDQUOT { return false }
        var info = statvfs()
        return unsafe statvfs(folder, &info) != 0 || Int(info.f_bavail) * Int(info.f_frsize) >= count
    }

    /// O_TMPFILE of Linux, which Swift's Glibc module leaves out.
    private static let temporaryFile = 0o20000000 | O_DIRECTORY

    /// Whether the system would map so many bytes more: not beyond a limit of the address space.
    static func mayMap(bytes: Int) -> Bool {
        let probe = unsafe mmap(nil, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let probe = unsafe probe, unsafe probe != MAP_FAILED else { return false }
        unsafe munmap(probe, bytes)
        return true
    }

    /// Reads up to `count` bytes at an offset; fewer at the end of the file.
    static func read(_ descriptor: Int32, at offset: Int, count: Int, path: String) throws(StoreError) -> [UInt8] {
        var code: Int32 = 0
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let got = unsafe pread(descriptor, buffer.baseAddress! + filled, count - filled, off_t(offset + filled))
                if got < 0 && errno == EINTR { continue }
                if got < 0 { code = errno }
                if got <= 0 { break }
                filled += got
            }
        }
        guard code == 0 else { throw .of(code: code, path: path) }
        return bytes
    }

    /// Reads a file through once; each piece goes to `sink`, all of it into the digest.
    static func digest(
        of descriptor: Int32, path: String, sink: ([UInt8]) throws(StoreError) -> Void = { _ in }
    ) throws(StoreError) -> (Digest, size: Int) {
        var hash = SHA256()
        var size = 0
        while true {
            let piece = try read(descriptor, at: size, count: 1 << 20, path: path)
            if piece.isEmpty { return (Digest(hash.finalize()), size) }
            hash.update(data: piece)
            try sink(piece)
            size += piece.count
        }
    }

    static func digest(ofFile path: String) throws(StoreError) -> Digest {
        let descriptor = try open(path, O_RDONLY)
        defer { close(descriptor) }
        return try digest(of: descriptor, path: path).0
    }

    static func write(_ bytes: [UInt8], to descriptor: Int32, path: String) throws(StoreError) {
        var written = 0
        while written < bytes.count {
            let step = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress! + written, $0.count - written) }
            if step < 0 && errno == EINTR { continue }
            guard step > 0 else { throw .of(code: step < 0 ? errno : ENOSPC, path: path) }
            written += step
        }
    }
}

extension FileCalls.Status {
    init(_ info: stat) {
        device = UInt(info.st_dev)
        inode = UInt(info.st_ino)
        size = Int(info.st_size)
        isRegular = info.st_mode & S_IFMT == S_IFREG
    }
}
