/// What keeps an evaluation from its end.
package enum EvaluationError: Error, Equatable, CustomStringConvertible {
    case reportForm(String)
    case tooLarge(path: String, bytes: Int)

    package var description: String {
        switch self {
        case .reportForm(let path): "a report ends in .html or .png, and '\(path)' does not"
        case .tooLarge(let path, let bytes): "'\(path)' would hold \(bytes) bytes of images; an .npz of this form holds 4 GB: take fewer"
        }
    }
}
