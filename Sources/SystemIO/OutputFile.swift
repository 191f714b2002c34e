import Foundation

/// A file that a user names to be written, so that nothing which exists is destroyed by it.
///
/// A file is replaced whole or not at all, and keeps its owner and its permissions; behind a symbolic link it is the link's target
/// that is replaced. A character device or a FIFO is written through, and so is standard output, under the name `-`. A folder, a
/// socket and a disk are refused. Bytes may come from the very file that is replaced.
package struct OutputFile: Sendable {
    package let path: String

    package init(_ path: String) { self.path = path }

    private enum Target {
        /// Bytes go through what is there.
        case stream
        /// - Parameter old: what is there now.
        case file(at: String, old: stat?)
    }

    /// Whether the bytes go to standard output. (A file of the name `-` is `./-`.)
    package var isStandardOutput: Bool { ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].contains(path) }

    /// Whether what is there takes bytes as they come: no name of a file, and no whole file afterwards.
    package var isStream: Bool {
        if isStandardOutput { return true }
        guard let target = try? target(), case .stream = target else { return false }
        return true
    }

    /// Finds before the work what would be refused after it.
    package func check() throws(SystemError) {
        guard case .file(let file, let old) = try target() else { return }
        let folder = URL(filePath: file).deletingLastPathComponent().path(percentEncoded: false)
        // Without its slash, behind which a file is nothing at all.
        guard let status = Self.status(folder.count > 1 && folder.hasSuffix("/") ? String(folder.dropLast()) : folder) else {
            throw SystemError(reason: "there is no folder '\(folder)'", code: ENOENT)
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw SystemError(reason: "'\(folder)' is no folder", code: ENOTDIR) }
        guard unsafe access(old == nil ? folder : file, W_OK) == 0 else { throw .last }
    }

    /// Writes all pieces.
    /// - Parameter durably: whether the file outlasts a power cut that comes after the call.
    package func write<Piece: DataProtocol>(_ pieces: some Sequence<Piece>, durably: Bool = false) throws(SystemError) {
        guard case .file(let file, let old) = try target() else { return try through(pieces) }
        try check()
        let folder = URL(filePath: file).deletingLastPathComponent().path(percentEncoded: false)
        PartialFile.removeAbandoned(in: folder)
        let (temporary, descriptor) = PartialFile.open(in: folder)
        if descriptor < 0 {
            let refusal = SystemError.last
            guard old != nil, [EACCES, EPERM, EROFS].contains(refusal.code) else { throw refusal }
            return try inPlace(file, pieces)
        }
        // Its lock lasts until the file has its place.
        let mark = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        defer { close(mark) }
        do throws(SystemError) {
            // Of another owner's file the place alone is ours: it stays theirs.
            if let old, !Self.inherits(descriptor, old) {
                close(descriptor)
                unsafe unlink(temporary)
                return try inPlace(file, pieces)
            }
            try Self.fill(descriptor, pieces, durably: durably)
        } catch {
            unsafe unlink(temporary)
            throw error
        }
        guard unsafe rename(temporary, file) == 0 else {
            let refusal = SystemError.last
            unsafe unlink(temporary)
            // A file that a container was given alone can be written but not replaced.
            guard refusal.code == EBUSY else { throw refusal }
            return try inPlace(file, pieces)
        }
        if durably { Self.synchronizeFolder(folder) }
    }

    private func through<Piece: DataProtocol>(_ pieces: some Sequence<Piece>) throws(SystemError) {
        if isStandardOutput {
            do { for piece in pieces { try FileHandle.standardOutput.write(contentsOf: piece) } } catch { throw SystemError(error) }
            return
        }
        let descriptor = unsafe open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else { throw .last }
        try Self.fill(descriptor, pieces, durably: false)
    }

    /// The old bytes give way to the new ones, which are all there before the first is written.
    private func inPlace<Piece: DataProtocol>(_ file: String, _ pieces: some Sequence<Piece>) throws(SystemError) {
        let all = pieces.reduce(into: Data()) { $0.append(contentsOf: $1) }
        let descriptor = unsafe open(file, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .last }
        try Self.fill(descriptor, CollectionOfOne(all), durably: true)
        guard unsafe truncate(file, all.count) == 0 else { throw .last }
    }

    /// Writes and closes.
    private static func fill<Piece: DataProtocol>(_ descriptor: Int32, _ pieces: some Sequence<Piece>, durably: Bool) throws(SystemError) {
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        do {
            for piece in pieces { try handle.write(contentsOf: piece) }
            if durably { try handle.synchronize() }
            try handle.close()
        } catch {
            throw SystemError(error)
        }
    }

    /// Gives a new file the owner and the permissions of an old one.
    private static func inherits(_ descriptor: Int32, _ old: stat) -> Bool {
        var new = stat()
        guard unsafe fstat(descriptor, &new) == 0 else { return false }
        if new.st_uid != old.st_uid || new.st_gid != old.st_gid, fchown(descriptor, old.st_uid, old.st_gid) != 0 { return false }
        return fchmod(descriptor, old.st_mode & 0o7777) == 0
    }

    /// Makes the rename itself last through a power cut.
    private static func synchronizeFolder(_ folder: String) {
        let descriptor = unsafe open(folder, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    // MARK: What is there

    private func target() throws(SystemError) -> Target {
        if isStandardOutput { return .stream }
        guard !path.isEmpty else { throw SystemError(reason: "the name is empty (an unset variable?)", code: EINVAL) }
        guard !path.utf8.contains(0) else { throw SystemError(code: EINVAL) }
        guard let status = Self.status(path) else {
            guard !path.hasSuffix("/") else { throw SystemError(reason: "it names a folder, where a file is to be written", code: EISDIR) }
            return .file(at: try followed(path), old: nil)
        }
        switch status.st_mode & S_IFMT {
        case S_IFCHR, S_IFIFO: return .stream
        case S_IFDIR: throw SystemError(reason: "it is a folder; name a file to write", code: EISDIR)
        case S_IFSOCK: throw SystemError(reason: "it is a socket; name a file to write", code: ENXIO)
        case S_IFBLK: throw SystemError(reason: "it is a disk; name a file to write", code: EPERM)
        // An open file of this process, which has no other name that is sure.
        default: return ["/dev/fd/", "/dev/std", "/proc/"].contains(where: path.hasPrefix) ? .stream : .file(at: try followed(path), old: status)
        }
    }

    /// The end of a chain of symbolic links, whether something is there or not.
    private func followed(_ path: String) throws(SystemError) -> String {
        var path = path
        for _ in 0..<40 {
            guard let next = try? FileManager.default.destinationOfSymbolicLink(atPath: path) else { return path }
            path = next.hasPrefix("/") ? next : URL(filePath: path).deletingLastPathComponent().path(percentEncoded: false) + "/" + next
        }
        throw SystemError(code: ELOOP)
    }

    /// Of what a path leads to; nil where nothing can be found.
    private static func status(_ path: String) -> stat? {
        var status = stat()
        return unsafe stat(path, &status) == 0 ? status : nil
    }
}
