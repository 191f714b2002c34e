import Foundation
import NIOCore
import SystemIO

/// What the system or Foundation threw and nothing in between has put into words: the path, where it names one, and the reason.
package struct SystemFault: Error, CustomStringConvertible {
    package let path: String?
    package let refusal: SystemError

    package var description: String { path.map { "'\($0)' cannot be used: \(refusal)" } ?? "\(refusal)" }

    /// What was refused of a file or folder that a user named.
    package init(_ error: any Error, at path: String) { (self.path, refusal) = (path, SystemError(error)) }

    /// Nil for an error that has words of its own.
    package init?(_ error: any Error) {
        switch error {
        case is CancellationError: (path, refusal) = (nil, "it was ended before its end")
        case is IOError, is CocoaError, is POSIXError, is DecodingError, is EncodingError, is SystemError:
            (path, refusal) = ((error as NSError).userInfo[NSFilePathErrorKey] as? String, SystemError(error))
        default:
            guard type(of: error) is NSError.Type else { return nil }
            (path, refusal) = ((error as NSError).userInfo[NSFilePathErrorKey] as? String, SystemError(error))
        }
    }
}
