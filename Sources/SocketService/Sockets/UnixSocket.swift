import Foundation
import SystemIO

/// A listening Unix socket of ours: mode 0600, in a folder that only this user can change.
///
/// `PATH.lock` is held for as long as the server lives and freed by the system when it dies in whatever way. So a socket file
/// that is there while the lock is free was left by a dead server, and may be replaced.
package final class UnixSocket: Sendable {
    package let path: String
    /// Listening; whoever accepts from it closes it.
    package let descriptor: Int32
    private let lock: Int32

    /// - Throws: `inUse` where a server is alive at the path, and whatever makes the place unsafe.
    package init(path: String) throws(SocketError) {
        guard !path.isEmpty else { throw .emptyPath }
        guard path.utf8.count <= SystemCalls.longestSocketPath, !path.utf8.contains(0) else {
            throw .pathTooLong(path: path, limit: SystemCalls.longestSocketPath)
        }
        guard !["", ".", ".."].contains(path.split(separator: "/", omittingEmptySubsequences: false).last ?? "") else { throw .namesFolder(path: path) }
        try Self.prepareFolder(Self.folder(of: path))
        // Before there is a lock beside it.
        try Self.checkPlace(path)
        let lock = try Self.acquireLock(path)
        do throws(SocketError) {
            try Self.removeStale(path)
            descriptor = try SystemCalls.listeningSocket(path, mode: 0o600)
        } catch {
            SystemCalls.close(lock)
            throw error
        }
        self.path = path
        self.lock = lock
    }

    /// Takes the socket file away and lets the next server start.
    package func remove() {
        SystemCalls.unlink(path)
        SystemCalls.close(lock)
    }

    /// The folder that a path lies in. (Foundation's own way ends the program at a path of one character.)
    package static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func prepareFolder(_ folder: String) throws(SocketError) {
        if try SystemCalls.status(folder) == nil {
            do {
                try FileManager.default.createDirectory(
                    atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            } catch {
                throw .system(path: folder, deed: .created, SystemError(error))
            }
        }
        guard let status = try SystemCalls.status(folder) else { throw .system(path: folder, deed: .reached, "it is gone") }
        guard status.owner == SystemCalls.ownUser else { throw .folderNotOurs(folder: folder) }
        guard status.mode & 0o022 == 0 else { throw .folderOpen(folder: folder, mode: String(status.mode & 0o777, radix: 8)) }
    }

    private static func acquireLock(_ path: String) throws(SocketError) -> Int32 {
        let file = path + ".lock"
        let lock = try SystemCalls.openLockFile(file)
        guard SystemCalls.tryLock(lock) else {
            let owner = (try? String(contentsOfFile: file, encoding: .utf8)).flatMap { Int32($0.prefix { $0.isNumber }) }
            SystemCalls.close(lock)
            throw .inUse(path: path, process: owner)
        }
        SystemCalls.write(lock, "\(ProcessInfo.processInfo.processIdentifier)\n")
        return lock
    }

    /// Whether something lies at the path, which is a socket then.
    @discardableResult
    private static func checkPlace(_ path: String) throws(SocketError) -> Bool {
        guard let status = try SystemCalls.status(path) else { return false }
        guard !status.isFolder else { throw .namesFolder(path: path) }
        guard status.isSocket else { throw .notASocket(path: path) }
        return true
    }

    private static func removeStale(_ path: String) throws(SocketError) {
        guard try checkPlace(path) else { return }
        // A server of another kind holds no lock of ours, but answers.
        guard !SystemCalls.answers(path) else { throw .inUse(path: path, process: nil) }
        SystemCalls.unlink(path)
    }
}

/// A listening TCP socket of 127.0.0.1. Made before anything is loaded, so that a busy port is said at once.
package struct LoopbackSocket: Sendable {
    /// Whoever accepts from it closes it.
    package let descriptor: Int32

    /// - Parameter port: 0 lets the system choose.
    /// - Throws: `portInUse`, `portForbidden`, or what else the system said.
    package init(port: Int) throws(SocketError) { descriptor = try SystemCalls.loopbackSocket(port) }
}
