import Foundation
import ProgramRunner

/// A small file system of its own, where this user may mount one.
final class TemporaryDisk {
    let url: URL
    private var path: String { url.path(percentEncoded: false) }

    init(bytes: Int) throws {
        url = URL(filePath: try temporaryFolder("disk"))
        guard mount("tmpfs", path, "tmpfs", 0, "size=\(bytes)") == 0 else {
            try? FileManager.default.removeItem(at: url)
            throw CocoaError(.fileWriteNoPermission)
        }
    }

    func makeReadOnly() -> Bool { mount("tmpfs", path, "tmpfs", UInt(MS_REMOUNT | MS_RDONLY), nil) == 0 }

    deinit {
        umount(path)
        try? FileManager.default.removeItem(at: url)
    }

    static func isAllowed() -> Bool { (try? TemporaryDisk(bytes: 1 << 16)) != nil }
}
