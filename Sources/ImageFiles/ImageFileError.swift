/// What can be wrong with an image file, said so that a user can put it right.
package enum ImageFileError: Error, CustomStringConvertible, Equatable {
    case notWritable(path: String, reason: String)
    case notReadable(path: String, reason: String)
    case encoding(String)

    package var description: String {
        switch self {
        case .notWritable(let path, let reason): "'\(path)' cannot be written: \(reason)"
        case .notReadable(let path, let reason): "'\(path)' is not a readable image: \(reason)"
        case .encoding(let reason): "the image could not be encoded as PNG: \(reason)"
        }
    }
}
