import Foundation
import NIOCore
import SystemIO

/// Every C call of this module.
package enum SystemCalls {
    /// The C library's `struct ucred`, which its Swift module hides.
    private struct PeerCredentials: Sendable {
        var process: Int32
        var user: UInt32
        var group: UInt32
    }

    struct Status {
        let owner: UInt32
        let mode: UInt32
        var isSocket: Bool { mode & S_IFMT == S_IFSOCK }
        var isFolder: Bool { mode & S_IFMT == S_IFDIR }
    }

    package static var ownUser: UInt32 { geteuid() }
    static let longestSocketPath = MemoryLayout.size(ofValue: sockaddr_un().sun_path) - 1

    /// What lies at a path, links not followed; nil where nothing does.
    static func status(_ path: String) throws(SocketError) -> Status? {
        var found = stat()
        guard unsafe lstat(path, &found) == 0 else {
            if errno == ENOENT { return nil }
            throw failure(path, .reached)
        }
        return Status(owner: found.st_uid, mode: found.st_mode)
    }

    /// Size is bounded, links are not followed, and the mode is that of the open file.
    static func readSmallFile(_ path: String, limit: Int) throws(SocketError) -> (bytes: [UInt8], mode: UInt32) {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard file >= 0 else { throw failure(path, .opened) }
        defer { close(file) }
        var found = stat()
        guard unsafe fstat(file, &found) == 0 else { throw failure(path, .read) }
        var bytes = [UInt8](repeating: 0, count: limit + 1)
        let count = unsafe read(file, &bytes, bytes.count)
        guard count >= 0 else { throw failure(path, .read) }
        return (Array(bytes.prefix(count)), found.st_mode)
    }

    /// A stream socket listening at the path. The mode is set before the file exists, so it is never wider.
    static func listeningSocket(_ path: String, mode: UInt32) throws(SocketError) -> Int32 {
        let descriptor = try streamSocket(path)
        guard fchmod(descriptor, mode) == 0, unsafe withAddress(path, { unsafe bind(descriptor, $0, $1) }) == 0,
            listen(descriptor, 256) == 0
        else {
            let error = failure(path, .listenedAt)
            close(descriptor)
            throw error
        }
        return descriptor
    }

    /// A stream socket listening at the port of 127.0.0.1; port 0 lets the system choose.
    static func loopbackSocket(_ port: Int) throws(SocketError) -> Int32 {
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(AF_INET, kind, 0)
        guard descriptor >= 0 else { throw failure("127.0.0.1:\(port)", .opened) }
        var reuse: Int32 = 1
        _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &reuse, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(clamping: port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        guard result == 0, listen(descriptor, 256) == 0 else {
            let code = errno
            close(descriptor)
            switch code {
            case EADDRINUSE: throw .portInUse(port)
            case EACCES: throw .portForbidden(port)
            default: throw .system(path: "127.0.0.1:\(port)", deed: .listenedAt, SystemError(code: code))
            }
        }
        return descriptor
    }

    /// True where somebody accepts connections at the path.
    static func answers(_ path: String) -> Bool {
        guard let descriptor = try? streamSocket(path) else { return false }
        defer { close(descriptor) }
        // A full backlog is a sign of life too.
        return unsafe withAddress(path, { unsafe connect(descriptor, $0, $1) }) == 0 || errno == EAGAIN
    }

    static func openLockFile(_ path: String) throws(SocketError) -> Int32 {
        let file = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw failure(path, .locked) }
        return file
    }

    static func tryLock(_ file: Int32) -> Bool { flock(file, LOCK_EX | LOCK_NB) == 0 }

    static func write(_ file: Int32, _ text: String) {
        _ = ftruncate(file, 0)
        let bytes = Array(text.utf8)
        _ = unsafe pwrite(file, bytes, bytes.count, 0)
    }

    static func unlink(_ path: String) { _ = unsafe Glibc.unlink(path) }
    static func close(_ descriptor: Int32) { _ = Glibc.close(descriptor) }

    /// Raises the soft limit of open files to the hard one.
    /// - Returns: how many files may now be open.
    static func raiseFileLimit() -> Int {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard unsafe getrlimit(resource, &limit) == 0 else { return 1024 }
        let wanted = rlimit(rlim_cur: min(limit.rlim_max, 1 << 20), rlim_max: limit.rlim_max)
        if wanted.rlim_cur > limit.rlim_cur, unsafe withUnsafePointer(to: wanted, { unsafe setrlimit(resource, $0) }) == 0 {
            limit = wanted
        }
        return Int(clamping: limit.rlim_cur)
    }

    /// Whether whoever started this process had it ignore a signal, as `nohup` does.
    package static func ignores(_ signal: Int32) -> Bool {
        var found = sigaction()
        guard unsafe sigaction(signal, nil, &found) == 0 else { return false }
        return unsafe unsafeBitCast(found.__sigaction_handler.sa_handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
    }

    /// Keeps a descriptor from the children of this process.
    static func closeOnExec(_ descriptor: Int32) { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }

    /// AF_UNIX, AF_INET, AF_INET6 of a listening stream socket, whether it is bound to this machine only, and whether it is a Unix socket
    /// without a file; nil where it is none.
    static func listeningFamily(_ descriptor: Int32) -> (family: Int32, isLocal: Bool, isAbstract: Bool)? {
        var isListening: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        guard unsafe getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &isListening, &size) == 0, isListening == 1 else { return nil }
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = unsafe withUnsafeMutablePointer(to: &storage) { storage in
            unsafe storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe getsockname(descriptor, $0, &length) }
        }
        guard result == 0 else { return nil }
        switch Int32(storage.ss_family) {
        case AF_UNIX:
            let first = unsafe withUnsafeBytes(of: storage) { unsafe $0[MemoryLayout<sa_family_t>.size] }
            return (AF_UNIX, true, Int(length) <= MemoryLayout<sa_family_t>.size || first == 0)
        case AF_INET:
            let address = unsafe withUnsafeBytes(of: storage) { unsafe $0.load(as: sockaddr_in.self) }.sin_addr.s_addr
            return (AF_INET, UInt32(bigEndian: address) >> 24 == 127, false)
        default: return (Int32(storage.ss_family), false, false)
        }
    }

    /// The user of the process at the other end of a Unix socket.
    static func peerUser(_ provider: any SocketOptionProvider) -> EventLoopFuture<UInt32> {
        let credentials: EventLoopFuture<PeerCredentials> = provider.unsafeGetSocketOption(
            level: .socket, name: .init(rawValue: SO_PEERCRED))
        return credentials.map(\.user)
    }

    private static func streamSocket(_ path: String) throws(SocketError) -> Int32 {
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(AF_UNIX, kind, 0)
        guard descriptor >= 0 else { throw failure(path, .opened) }
        return descriptor
    }

    private static func withAddress(_ path: String, _ call: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8.prefix(longestSocketPath)) }
        return unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe call($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }

    private static func failure(_ path: String, _ deed: SystemError.Deed) -> SocketError { .system(path: path, deed: deed, .last) }
}
