import Foundation
import Glibc

/// The lock that lets one writer at a time into a store, over threads and processes, with a bounded wait.
///
/// It bounds the wait and names who holds it; that nobody else writes is `DataFile`'s lock, which no removal of this file can undo.
// @unchecked: `descriptor` is touched only while `threads` is held.
final class WriteLock: @unchecked Sendable {
    private let folder: String
    private let path: String
    private let threads = NSLock()
    private var descriptor: Int32 = -1

    init(folder: String) {
        self.folder = folder
        path = folder + "/write.lock"
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Runs the body alone, or throws `locked` with the holder's process after the timeout. Not reentrant.
    func withLock<R>(timeout: Duration, _ body: () throws(StoreError) -> R) throws(StoreError) -> R {
        let deadline = ContinuousClock.now + timeout
        let seconds = Double(timeout.components.seconds) + Double(timeout.components.attoseconds) * 1e-18
        guard threads.lock(before: Date(timeIntervalSinceNow: seconds)) else {
            throw .locked(path: folder, process: Int(getpid()))
        }
        defer { threads.unlock() }
        if descriptor < 0 { descriptor = try FileCalls.open(path, O_RDWR | O_CREAT) }
        var pause: UInt32 = 500
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR else { throw .of(code: errno, path: path) }
            guard ContinuousClock.now < deadline else { throw .locked(path: folder, process: holder()) }
            usleep(pause)
            pause = min(2 * pause, 20_000)
        }
        defer { flock(descriptor, LOCK_UN) }
        // The process number is only news for whoever waits; a full disk must not stop a prune.
        let mark = Array("\(getpid()) \(WriteLock.namespace)\n".utf8)
        _ = ftruncate(descriptor, 0)
        _ = unsafe mark.withUnsafeBytes { unsafe pwrite(descriptor, $0.baseAddress!, $0.count, 0) }
        return try body()
    }

    private func holder() -> Int? {
        guard let bytes = try? FileCalls.read(descriptor, at: 0, count: 64, path: path) else { return nil }
        let words = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
        guard words.count < 2 || words[1] == WriteLock.namespace else { return nil }
        return words.first.flatMap { Int($0) }
    }

    /// In which space process numbers count: another container's number would name a process of this one.
    private static let namespace = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/pid")) ?? "?"
}
