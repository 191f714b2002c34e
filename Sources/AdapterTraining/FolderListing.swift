import Foundation
import ImageFiles
import SystemPackage

/// What lies at a path, links followed.
struct FolderEntry {
    enum Kind { case folder, file, other }
    /// One file or folder by any of its names.
    struct Identity: Hashable { let device, node: UInt64 }

    let path: FilePath
    let kind: Kind
    let identity: Identity

    /// - Throws: the system's number.
    init(_ path: FilePath) throws(Errno) {
        var status = stat()
        guard unsafe path.withPlatformString({ unsafe stat($0, &status) }) == 0 else { throw Errno(rawValue: errno) }
        self.path = path
        kind =
            switch status.st_mode & S_IFMT {
            case S_IFDIR: .folder
            case S_IFREG: .file
            default: .other
            }
        identity = Identity(device: UInt64(status.st_dev), node: UInt64(status.st_ino))
    }

    /// Names in a folder, as bytes that need not be UTF-8, in the order of these bytes.
    static func names(in folder: FilePath) throws(Errno) -> [FilePath.Component] {
        guard let stream = unsafe folder.withPlatformString({ unsafe opendir($0) }) else { throw Errno(rawValue: errno) }
        defer { unsafe closedir(stream) }
        var names: [FilePath.Component] = []
        errno = 0
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self) { unsafe FilePath.Component(platformString: $0.baseAddress!) }
            }
            if let name, name.kind == .regular { names.append(name) }
            errno = 0
        }
        guard errno == 0 else { throw Errno(rawValue: errno) }
        return names.sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
    }
}

extension FilePath.Component {
    fileprivate var bytes: [UInt8] { unsafe withPlatformString { unsafe Array(UnsafeRawBufferPointer(start: $0, count: strlen($0))) } }

    /// Files of the system's own, and what archives and file servers leave behind, are no pictures of anybody's.
    var isHidden: Bool {
        shown.hasPrefix(".") || ["__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "Thumbs.db", "desktop.ini"].contains(shown)
    }
}
