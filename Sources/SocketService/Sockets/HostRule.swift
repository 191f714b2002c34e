import NIOCore

/// Which names a client may have reached the server by over TCP. A page of another site whose name was made to point at 127.0.0.1 (DNS
/// rebinding) comes under its own name, and is refused.
package struct HostRule: Sendable, Equatable {
    private let names: Set<String>

    /// - Parameter more: names beside this machine's own, with a port where only that port is meant.
    package init(more: [String] = []) {
        names = Set(
            (["localhost", "127.0.0.1", "[::1]"] + more).map { host in
                let (name, port) = Self.parts(host)
                return name + (port.map { ":\($0)" } ?? "")
            })
    }

    /// - Parameter host: a `Host` header's value: a name, and a port perhaps.
    package func admits(_ host: String) -> Bool {
        guard Self.isWellFormed(host) else { return false }
        let (name, port) = Self.parts(host)
        return names.contains(name) || port.map { names.contains("\(name):\($0)") } ?? false
    }

    /// A host's name as it is compared: lower case, without the dot of the root after it, an address in its shortest form.
    private static func parts(_ host: String) -> (name: String, port: Substring?) {
        let colon = portColon(host)
        var name = (colon.map { host[..<$0] } ?? host[...]).lowercased()
        if name.hasPrefix("["), name.hasSuffix("]") {
            if let address = try? SocketAddress(ipAddress: String(name.dropFirst().dropLast()), port: 0).ipAddress { name = "[\(address)]" }
        } else if name.count > 1, name.hasSuffix(".") {
            name.removeLast()
        }
        return (name, colon.map { host[host.index(after: $0)...].drop { $0 == "0" } }.flatMap { $0.isEmpty ? nil : $0 })
    }

    /// The host that a request's target names; nil where it is a path.
    static func named(in target: String) -> String? {
        guard !target.hasPrefix("/"), let range = target.firstRange(of: "://") else { return nil }
        return String(target[range.upperBound...].prefix { !["/", "?", "#"].contains($0) })
    }

    /// A name or an address, and digits after a colon; empty where a client has no name for the server.
    package static func isWellFormed(_ host: String) -> Bool {
        let name = portColon(host).map { host[..<$0] } ?? host[...]
        return host.utf8.count <= 300
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
                case UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: "%"): true
                case UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: ":"): name.hasPrefix("[") && name.hasSuffix("]")
                default: false
                }
            }
    }

    /// The colon before a port, not one of an address in brackets.
    private static func portColon(_ host: String) -> String.Index? {
        guard let colon = host.lastIndex(of: ":"), host[host.index(after: colon)...].utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return host.hasPrefix("[") && host[..<colon].last != "]" ? nil : colon
    }
}
