import SystemIO

/// What can be wrong with an image file, said so that a user can put it right.
package enum ImageFileError: Error, CustomStringConvertible, Equatable {
    /// - Parameter code: the system's (errno), 0 where it gave none.
    case notWritable(path: String, reason: String, code: Int32)
    case notReadable(path: String, reason: String)
    case notAnArchive(path: String, reason: String)
    case encoding(String)

    /// In the system's own words, which Foundation wraps in an error of its own.
    package static func unwritable(_ path: String, _ error: any Error) -> ImageFileError {
        let system = SystemError(error)
        return .notWritable(path: path, reason: system.reason, code: system.code)
    }

    /// A picture of a kind that is not read.
    /// - Parameter kind: such as "a HEIC picture".
    static func unread(_ path: String, _ kind: String) -> ImageFileError {
        .notReadable(path: path, reason: "it is \(kind), which is not read: convert it to PNG or JPEG")
    }

    package var description: String {
        switch self {
        case .notWritable(let path, let reason, _): "'\(path)' cannot be written: \(reason)"
        case .notReadable(let path, let reason): "'\(path)' is not a readable image: \(reason)"
        case .notAnArchive(let path, let reason): "'\(path)' cannot be read: \(reason)"
        case .encoding(let reason): "the image could not be encoded as PNG: \(reason)"
        }
    }
}
