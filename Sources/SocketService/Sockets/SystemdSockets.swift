import Foundation

/// Sockets that systemd opened and passed on (sd_listen_fds): descriptors from 3 on, meant for the process that LISTEN_PID names.
package struct SystemdSockets: Sendable, Equatable {
    package var unix: [Int32] = []
    package var loopback: [Int32] = []

    package init(_ environment: [String: String], process: Int32) throws(SocketError) {
        guard environment["LISTEN_PID"].flatMap(Int32.init) == process else {
            try self.init(activated: [Int32]())
            return
        }
        guard let count = environment["LISTEN_FDS"].flatMap(Int32.init), (1...16).contains(count) else {
            throw .badActivation(reason: "LISTEN_FDS is not a number between 1 and 16")
        }
        try self.init(activated: 3..<(3 + count))
    }

    /// - Parameter descriptors: listening sockets, as they were handed over.
    package init(activated descriptors: some Sequence<Int32>) throws(SocketError) {
        for descriptor in descriptors {
            SystemCalls.closeOnExec(descriptor)
            guard let (family, isLocal, isAbstract) = SystemCalls.listeningFamily(descriptor) else {
                throw .badActivation(reason: "descriptor \(descriptor) is no listening socket")
            }
            guard !isAbstract else { throw .abstract(descriptor: descriptor) }
            guard isLocal else { throw .badActivation(reason: "descriptor \(descriptor) is open to other machines") }
            if family == AF_UNIX { unix.append(descriptor) } else { loopback.append(descriptor) }
        }
    }

    package var isEmpty: Bool { unix.isEmpty && loopback.isEmpty }
}
