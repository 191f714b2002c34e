import Foundation

/// Why the system refused something: its words, and its number (errno), 0 where it gave none.
///
/// The one place where an error of the C library, of Foundation or of SwiftNIO becomes words that a user reads.
public struct SystemError: Error, Sendable, Hashable, CustomStringConvertible {
    /// In words for a user, such as "No space left on device".
    public let reason: String
    /// errno, such as `ENOSPC`; 0 where there is none.
    public let code: Int32

    /// The reason.
    public var description: String { reason }

    /// - Parameter code: an errno, such as `ENOSPC`.
    package init(code: Int32) { self.init(reason: unsafe String(cString: strerror(code)), code: code) }

    /// Words of ours beside the system's number.
    package init(reason: String, code: Int32) { (self.reason, self.code) = (reason, code) }

    /// What a program that failed by this ends with; `otherwise` where its number says nothing.
    package func exitCode(otherwise: Int32) -> Int32 {
        switch code {
        case ENOSPC, EDQUOT, EFBIG: 13
        case EACCES, EPERM, EROFS: 12
        case ENOENT, ENOTDIR: 4
        case EISDIR: 2
        default: otherwise
        }
    }

    /// Of the call that just failed.
    package static var last: SystemError { SystemError(code: errno) }

    /// Foundation wraps the system's error in one of its own, or has a number of its own for it.
    package init(_ error: any Error) {
        if let error = error as? SystemError { self = error; return }
        let library = String(reflecting: type(of: error))
        if library.hasPrefix("NIO") {
            // Its errors name its own functions, and carry the system's number in their words.
            let code = "\(error)".firstMatch(of: /errno: ([0-9]+)/).flatMap { Int32($0.1) }
            self = code.map { SystemError(code: $0) } ?? "the connection broke"
            return
        }
        if error is DecodingError { self = "it is not the JSON that was expected"; return }
        let own = error as NSError
        let system = (own.userInfo[NSUnderlyingErrorKey] as? any Error).map { $0 as NSError } ?? own
        if system.domain == NSPOSIXErrorDomain { self.init(code: Int32(system.code)); return }
        if let cocoa = error as? CocoaError, let known = Self.known(cocoa) { self = known; return }
        // A description of another package may be a dump of its fields; a sentence has none of its brackets.
        let words = system.localizedDescription
        let isRaw = ["Domain", "UserInfo", "could not be completed", "couldn’t be completed"].contains { words.contains($0) }
        self.init(reason: isRaw ? "the system gives no reason" : words, code: 0)
    }

    private static func known(_ error: CocoaError) -> SystemError? {
        switch error.code {
        case .fileNoSuchFile, .fileReadNoSuchFile: SystemError(code: ENOENT)
        case .fileReadNoPermission, .fileWriteNoPermission: SystemError(code: EACCES)
        case .fileWriteFileExists: SystemError(code: EEXIST)
        case .fileWriteOutOfSpace: SystemError(code: ENOSPC)
        case .fileWriteVolumeReadOnly: SystemError(code: EROFS)
        case .fileReadTooLarge: SystemError(code: EFBIG)
        case .fileReadInvalidFileName, .fileWriteInvalidFileName: "its name cannot be used"
        case .fileReadInapplicableStringEncoding, .fileReadUnknownStringEncoding: "it is no UTF-8 text"
        case .fileReadCorruptFile, .propertyListReadCorrupt: "it is damaged"
        default: nil
        }
    }
}

extension SystemError {
    /// What was tried, as the end of "'path' cannot be ...".
    package enum Deed: String, Sendable {
        case opened, read, written, created, removed, listed, renamed, locked, reached
        case listenedAt = "listened at"
    }

    /// A whole sentence without its full stop: `'out/a.png' cannot be written: No space left on device`.
    package func sentence(_ path: String, _ deed: Deed) -> String { "'\(path)' cannot be \(deed.rawValue): \(reason)" }
}

/// An error's sentence: its own where it is one of ours, else the system's reason.
package func words(of error: any Error) -> String {
    let name = String(reflecting: type(of: error))
    let isForeign = ["Foundation", "NIO", "Swift.", "__C"].contains { name.hasPrefix($0) }
    return isForeign ? SystemError(error).description : "\(error)"
}

extension SystemError: ExpressibleByStringLiteral, ExpressibleByStringInterpolation {
    /// A reason of ours.
    public init(stringLiteral reason: String) { self.init(reason: reason, code: 0) }
}
