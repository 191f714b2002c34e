import Foundation
import SocketService

/// Where the server listens: systemd's sockets if it was handed any, else its own.
struct ListenAddresses {
    let addresses: [Listener.Address]
    let token: Token?
    private let socket: UnixSocket?

    init(_ configuration: Configuration) throws {
        token = try configuration.tokenFile.map { try Token(file: $0) }
        let process = ProcessInfo.processInfo
        let activated = try SystemdSockets(process.environment, process: process.processIdentifier)
        var addresses = activated.unix.map { Listener.Address.unix(descriptor: $0) }
        if !activated.loopback.isEmpty, token == nil { throw ConfigurationError.tokenMissing }
        addresses += activated.loopback.map { Listener.Address.loopback(descriptor: $0) }
        if activated.isEmpty {
            let socket = try UnixSocket(path: configuration.socket)
            addresses.append(.unix(descriptor: socket.descriptor))
            self.socket = socket
        } else {
            socket = nil
        }
        if let port = configuration.port {
            do {
                addresses.append(.loopback(descriptor: try LoopbackSocket(port: port).descriptor))
            } catch {
                socket?.remove()
                throw error
            }
        }
        self.addresses = addresses
    }

    /// Takes our own socket file away; systemd keeps its.
    func close() { socket?.remove() }
}
