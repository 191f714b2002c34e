/// A listening TCP socket of 127.0.0.1. Made before anything is loaded, so that a busy port is said at once.
package struct LoopbackSocket: Sendable {
    /// Whoever accepts from it closes it.
    package let descriptor: Int32

    /// - Parameter port: 0 lets the system choose.
    /// - Throws: `portInUse`, `portForbidden`, or what else the system said.
    package init(port: Int) throws(SocketError) { descriptor = try SystemCalls.loopbackSocket(port) }
}
