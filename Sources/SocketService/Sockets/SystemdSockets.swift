import Foundation

/// Sockets that systemd opened and passed on (sd_listen_fds): descriptors from 3 on, meant for the process that LISTEN_PID names.
package struct SystemdSockets: Sendable, Equatable {
    package var unix: [Int32] = []
    package var loopback: [Int32] = []

    package init(_ environment: [String: String], process: Int32) throws(SocketError) {
        guard environment["LISTEN_PID"].flatMap(Int32.init) == process else { return }
        guard let count = environment["LISTEN_FDS"].flatMap(Int32.init), (1...16).contains(count) else {
            throw .badActivation(reason: "LISTEN_FDS is not a number between 1 and 16")
        }
        for descriptor in 3..<(3 + count) {
            SystemCalls.closeOnExec(descriptor)
            guard let (family, isLocal) = SystemCalls.listeningFamily(descriptor) else {
                throw .badActivation(reason: "descriptor \(descriptor) is no listening socket")
            }
            guard isLocal else { throw .badActivation(reason: "descriptor \(descriptor) is open to other machines") }
            if family == AF_UNIX { unix.append(descriptor) } else { loopback.append(descriptor) }
        }
    }

    package var isEmpty: Bool { unix.isEmpty && loopback.isEmpty }
}
