import CLMDB
import Glibc

extension StoreError {
    /// The case for a code of the system (errno) or of LMDB (negative).
    /// - Parameter path: the file or folder that was worked on.
    static func of(code: Int32, path: String) -> StoreError {
        switch code {
        case ENOSPC, EDQUOT, EFBIG: .diskFull(path: path)
        case EACCES, EPERM, EROFS: .permission(path: path)
        case EEXIST: .pathTaken(path)
        case ENOTDIR: .badFile(path: path, reason: "lies below something that is no folder")
        case ENOENT: .badFile(path: path, reason: "does not exist")
        case ENOMEM: .memoryRefused(path: path)
        case MDB_CORRUPTED, MDB_PAGE_NOTFOUND, MDB_INVALID, MDB_VERSION_MISMATCH, MDB_BAD_TXN:
            .damaged(item: "data file of the store at '\(path)'", reason: sentence(code))
        default: .system(path: path, reason: sentence(code))
        }
    }

    private static func sentence(_ code: Int32) -> String {
        if let text = unsafe mdb_strerror(code) { return unsafe String(cString: text) }
        return "error \(code)"
    }
}
