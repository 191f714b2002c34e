import Foundation

/// One connection to a server, byte by byte: what no HTTP library lets a test do. Reads wait until the server says something or hangs up.
final class RawConnection {
    enum Fault: Error {
        case notConnected(Int32)
        case malformed(String)
    }

    let descriptor: Int32
    private var isOpen = true

    init(socket path: String) throws {
        descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(107)) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) }
        }
        try finish(result)
    }

    init(port: Int) throws {
        descriptor = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) }
        }
        try finish(result)
    }

    private func finish(_ result: Int32) throws {
        guard result == 0 else {
            let code = errno
            close()
            throw Fault.notConnected(code)
        }
    }

    deinit { close() }

    func close() {
        if isOpen { _ = Glibc.close(descriptor) }
        isOpen = false
    }

    /// Sends everything, or as much as the server takes before it hangs up.
    @discardableResult
    func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes { bytes in
                uninterrupted { Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL)) }
            }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }

    /// Sends as much as there is room for; false where there is none left, or the server hung up.
    func sendWhatFits(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
        return bytes.withUnsafeBytes { bytes in uninterrupted { Glibc.send(descriptor, bytes.baseAddress, bytes.count, flags) } } == bytes.count
    }

    private var buffer: [UInt8] = []

    /// More bytes into the buffer; false at the end of the stream.
    private func fill() throws -> Bool {
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        let count = chunk.withUnsafeMutableBytes { bytes in uninterrupted { recv(descriptor, bytes.baseAddress, bytes.count, 0) } }
        guard count > 0 else { return false }
        buffer += chunk[..<count]
        return true
    }

    /// Everything until the server closes.
    func rest() throws -> String {
        while try fill() {}
        defer { buffer = [] }
        return String(decoding: buffer, as: UTF8.self)
    }

    func line() throws -> String {
        while true {
            if let end = buffer.firstIndex(of: 10) {
                let line = String(decoding: buffer[..<end], as: UTF8.self)
                buffer.removeSubrange(...end)
                return line.hasSuffix("\r") ? String(line.dropLast()) : line
            }
            guard try fill() else { throw Fault.malformed("the stream ended in a line: \(String(decoding: buffer, as: UTF8.self))") }
        }
    }

    private func take(_ count: Int) throws -> [UInt8] {
        while buffer.count < count { guard try fill() else { throw Fault.malformed("the stream ended in a body") } }
        defer { buffer.removeSubrange(..<count) }
        return Array(buffer[..<count])
    }

    /// One whole response; chunked bodies are put together.
    func response() throws -> Reply {
        let head = try head()
        var body: [UInt8] = []
        if head.headers["transfer-encoding"] == "chunked" {
            while let chunk = try chunk() { body += chunk }
        } else {
            body = try take(Int(head.headers["content-length"] ?? "0") ?? 0)
        }
        return Reply(status: head.status, headers: head.headers, body: body)
    }

    func head() throws -> (status: Int, headers: [String: String]) {
        let status = try line().split(separator: " ")
        guard status.count >= 2, let code = Int(status[1]) else { throw Fault.malformed("no status line") }
        var headers: [String: String] = [:]
        while case let line = try line(), !line.isEmpty {
            let parts = line.split(separator: ":", maxSplits: 1)
            headers[parts[0].lowercased()] = parts.count > 1 ? parts[1].trimmingCharacters(in: .whitespaces) : ""
        }
        return (code, headers)
    }

    /// The next chunk of a chunked body; nil after the last.
    func chunk() throws -> [UInt8]? {
        guard let size = Int(try line(), radix: 16) else { throw Fault.malformed("no chunk size") }
        let bytes = try take(size)
        _ = try line()
        return size == 0 ? nil : bytes
    }
}

/// Not every call is taken up again by the system after a signal.
private func uninterrupted(_ call: () -> Int) -> Int {
    while true {
        let result = call()
        if result >= 0 || errno != EINTR { return result }
    }
}

struct Reply {
    let status: Int
    let headers: [String: String]
    let body: [UInt8]

    var text: String { String(decoding: body, as: UTF8.self) }
    var json: [String: Any] { (try? JSONSerialization.jsonObject(with: Data(body))) as? [String: Any] ?? [:] }
    var error: [String: Any] { json["error"] as? [String: Any] ?? [:] }
    var code: String { error["code"] as? String ?? "" }
    var images: [[String: Any]] { json["data"] as? [[String: Any]] ?? [] }
    var hashes: [String] { images.compactMap { $0["sha256"] as? String } }
    var usage: [String: Any] { json["x_difffit"] as? [String: Any] ?? [:] }
}

/// One server-sent event.
struct SentEvent {
    let name: String
    let data: [String: Any]

    /// The events of a whole stream; comments are left out.
    static func all(in text: String) -> [SentEvent] {
        text.components(separatedBy: "\n\n").compactMap { block in
            let lines = block.split(separator: "\n")
            guard let name = lines.first(where: { $0.hasPrefix("event: ") }), let data = lines.first(where: { $0.hasPrefix("data: ") })
            else { return nil }
            let value = try? JSONSerialization.jsonObject(with: Data(data.dropFirst(6).utf8))
            return SentEvent(name: String(name.dropFirst(7)), data: value as? [String: Any] ?? [:])
        }
    }
}
