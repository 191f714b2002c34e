import CArchive
import SystemPackage

/// The regular files of a tar archive, compressed or not, one after the other: the shards of a WebDataset.
@safe package final class ArchiveFile {
    private let archive: OpaquePointer
    private let path: FilePath
    private var entry: OpaquePointer?

    /// A picture is a few megabytes; what an archive says of a size is not believed beyond this.
    private static let largest = 256 << 20

    /// Endings that say an archive.
    package static let endings = ["tar", "tgz", "tar.gz", "tar.zst", "tar.bz2", "tar.xz"]

    /// - Throws: `ImageFileError.notAnArchive`.
    package init(_ path: FilePath) throws(ImageFileError) {
        guard let archive = unsafe archive_read_new() else { throw .notAnArchive(path: path.shown, reason: "there is no memory to read it") }
        unsafe self.archive = archive
        self.path = path
        unsafe archive_read_support_filter_all(archive)
        unsafe archive_read_support_format_tar(archive)
        unsafe archive_read_support_format_empty(archive)
        guard unsafe path.withPlatformString({ unsafe archive_read_open_filename(archive, $0, 1 << 16) }) == ARCHIVE_OK else { throw failure() }
    }

    deinit { unsafe archive_read_free(archive) }

    /// Whether a file is named like an archive.
    package static func isNamed(_ path: FilePath) -> Bool { endings.contains { path.shown.lowercased().hasSuffix("." + $0) } }

    /// The name of the next regular file as the archive has it; nil at the end.
    package func next() throws(ImageFileError) -> String? {
        while true {
            let status = unsafe archive_read_next_header(archive, &entry)
            if status == ARCHIVE_EOF { return nil }
            guard status == ARCHIVE_OK || status == ARCHIVE_WARN else { throw failure() }
            guard unsafe archive_entry_filetype(entry) == S_IFREG, let name = unsafe archive_entry_pathname(entry) else { continue }
            return unsafe String(cString: name)
        }
    }

    /// The bytes of the file that `next` named.
    package func read() throws(ImageFileError) -> [UInt8] {
        let size = unsafe Int(archive_entry_size(entry))
        guard (0...Self.largest).contains(size) else { throw .notAnArchive(path: path.shown, reason: "it holds a file of \(size) bytes") }
        var bytes = [UInt8](repeating: 0, count: size)
        guard unsafe archive_read_data(archive, &bytes, size) == size else { throw failure() }
        return bytes
    }

    private func failure() -> ImageFileError {
        let reason = unsafe archive_error_string(archive).map { unsafe String(cString: $0) }
        return .notAnArchive(path: path.shown, reason: reason.map { "it is no whole tar archive: \($0)" } ?? "it is no whole tar archive")
    }
}
