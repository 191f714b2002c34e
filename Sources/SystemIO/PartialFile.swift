import Foundation

/// A file that is being written beside its place. It is locked (flock) until it is closed, so the next one in the same folder tells what a
/// killed process left from what another one is writing, and takes it away.
enum PartialFile {
    private static let prefix = ".difffit-", suffix = ".partial"

    /// - Returns: its path, and a descriptor; below 0, with `errno` set, where the folder takes no new file.
    static func open(in folder: String) -> (path: String, descriptor: Int32) {
        while true {
            // A short name of its own: the place's may be as long as names can be.
            let path = "\(folder.hasSuffix("/") ? folder : folder + "/")\(prefix)\(UUID().uuidString)\(suffix)"
            let descriptor = unsafe Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
            // Another process may take it away before it is held.
            guard descriptor >= 0 else { return (path, descriptor) }
            // A file system may have no such locks; then nobody takes anything away either.
            let isAnothers = flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK
            if !isAnothers, hasName(descriptor) { return (path, descriptor) }
            close(descriptor)
        }
    }

    /// Removes what nobody is writing any more.
    static func removeAbandoned(in folder: String) {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] where name.hasPrefix(prefix) && name.hasSuffix(suffix) {
            guard UUID(uuidString: String(name.dropFirst(prefix.count).dropLast(suffix.count))) != nil else { continue }
            let path = folder + "/" + name
            let descriptor = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
            guard descriptor >= 0 else { continue }
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0, hasName(descriptor) { unsafe unlink(path) }
            close(descriptor)
        }
    }

    private static func hasName(_ descriptor: Int32) -> Bool {
        var status = stat()
        return unsafe fstat(descriptor, &status) == 0 && status.st_nlink > 0
    }
}
