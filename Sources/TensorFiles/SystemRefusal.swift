import Foundation

/// What the system said when it refused a call: its words, and its number (errno), 0 where it gave none.
package struct SystemRefusal: Sendable, Hashable, CustomStringConvertible {
    package let reason: String
    package let code: Int32

    package var description: String { reason }

    /// Of the call that just failed.
    package static var last: SystemRefusal {
        let code = errno
        return SystemRefusal(reason: unsafe String(cString: strerror(code)), code: code)
    }

    init(reason: String, code: Int32) { (self.reason, self.code) = (reason, code) }

    /// Foundation wraps the system's error in one of its own.
    package init(_ error: any Error) {
        let own = error as NSError
        let system = (own.userInfo[NSUnderlyingErrorKey] as? any Error).map { $0 as NSError } ?? own
        self.init(reason: system.localizedDescription, code: system.domain == NSPOSIXErrorDomain ? Int32(system.code) : 0)
    }
}

extension SystemRefusal: ExpressibleByStringLiteral, ExpressibleByStringInterpolation {
    /// A reason of ours.
    package init(stringLiteral reason: String) { self.init(reason: reason, code: 0) }
}
