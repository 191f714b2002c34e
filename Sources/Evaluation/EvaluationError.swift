import Foundation

/// What keeps an evaluation from its end.
package enum EvaluationError: Error, Equatable, CustomStringConvertible {
    case reportForm(String)
    case notWritable(path: String, reason: String)
    case tooLarge(path: String, bytes: Int)

    package var description: String {
        switch self {
        case .reportForm(let path): "a report ends in .html or .png, and '\(path)' does not"
        case .notWritable(let path, let reason): "'\(path)' cannot be written: \(reason)"
        case .tooLarge(let path, let bytes): "'\(path)' would hold \(bytes) bytes of images; an .npz of this form holds 4 GB: take fewer"
        }
    }

    /// The system's reason in its own words.
    static func unwritable(_ path: String, _ error: any Error) -> EvaluationError {
        let system = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError
        return .notWritable(path: path, reason: (system ?? error as NSError).localizedDescription)
    }
}
