import Foundation
import Glibc
import SystemIO

/// A lock file that one process holds, with its id inside for whoever is refused.
///
/// The lock is the system's (flock), so it ends with the process however that ends.
final class HeldFile {
    /// Another process has it.
    struct Held: Error { let process: Int? }

    private let path: String
    private let isPassing: Bool
    private let descriptor: Int32

    /// - Parameter isPassing: whether the file goes with the lock.
    /// - Throws: `Held`, and `SystemError` where it cannot be made.
    init(_ path: String, isPassing: Bool) throws {
        (self.path, self.isPassing) = (path, isPassing)
        descriptor = try Self.open(path)
        // News for whoever is refused; a full disk is found by the run itself.
        let text = Array("\(getpid())\n".utf8)
        _ = ftruncate(descriptor, 0)
        _ = unsafe text.withUnsafeBytes { unsafe pwrite(descriptor, $0.baseAddress, $0.count, 0) }
    }

    deinit {
        if isPassing { unsafe unlink(path) }
        close(descriptor)
    }

    private static func open(_ path: String) throws -> Int32 {
        while true {
            let descriptor = unsafe Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
            guard descriptor >= 0 else { throw SystemError.last }
            guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
                let refusal = SystemError.last
                close(descriptor)
                guard refusal.code == EWOULDBLOCK else { throw refusal }
                let holder = try? String(contentsOfFile: path, encoding: .utf8)
                throw Held(process: holder.flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) })
            }
            // Whoever had it may have taken the name away meanwhile.
            var status = stat()
            if unsafe fstat(descriptor, &status) == 0, status.st_nlink > 0 { return descriptor }
            close(descriptor)
        }
    }
}
