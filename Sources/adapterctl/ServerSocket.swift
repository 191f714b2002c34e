import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import SystemIO

/// A running `adapterd`, reached over its Unix socket.
struct ServerSocket {
    let path: String

    struct Reply {
        let status: Int
        let retryAfter: Int?
        let body: Data

        func decoded<Value: Decodable>(_ type: Value.Type = Value.self) throws -> Value {
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            do { return try decoder.decode(type, from: body) } catch {
                throw Failure.unreachable("what answers at the socket is no adapterd that this program knows: \(SystemError(error))")
            }
        }
    }

    private struct ErrorBody: Decodable {
        struct Content: Decodable {
            let message: String
            let code: String
        }
        let error: Content
    }

    /// One call on a connection of its own, which ends with the calling task.
    /// - Throws: `unreachable`; an error status is a reply like any other.
    func call(_ method: HTTPMethod, _ uri: String, body: Data? = nil) async throws -> Reply {
        try Self.check(path)
        do {
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connect(unixDomainSocketPath: path) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    return try NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>(wrappingChannelSynchronously: channel)
                }
            }
            return try await channel.executeThenClose { inbound, outbound in
                var head = HTTPRequestHead(version: .http1_1, method: method, uri: uri, headers: ["host": "localhost"])
                head.headers.add(name: "content-length", value: "\(body?.count ?? 0)")
                try await outbound.write(.head(head))
                if let body { try await outbound.write(.body(.byteBuffer(ByteBuffer(bytes: body)))) }
                try await outbound.write(.end(nil))
                return try await reply(inbound)
            }
        } catch let failure as Failure {
            throw failure
        } catch let error as CancellationError {
            throw error
        } catch {
            throw Failure.unreachable("no server answers at '\(path)': \(words(of: error))")
        }
    }

    /// A path that cannot be a socket is said to be none, in place of what the system says when it is tried.
    private static func check(_ path: String) throws(Failure) {
        // No room for the path means a cut path, and an empty one a socket that has no file and that any local user may have made.
        guard !path.isEmpty else { throw .usage("--socket is empty; is a variable of the shell not set?") }
        guard path.utf8.count < MemoryLayout.size(ofValue: sockaddr_un().sun_path) else {
            throw .usage("the socket path '\(path)' is longer than the system allows")
        }
        let scheme = ["http://", "https://", "tcp://", "unix:"].first { path.hasPrefix($0) }
        if scheme != nil || (path.contains(":") && !path.contains("/")) {
            throw .usage("--socket takes the path of a Unix socket, such as adapterd prints when it starts; '\(path)' is an address")
        }
        // What is not there is said by the system itself.
        var found = stat()
        guard unsafe stat(path, &found) == 0, found.st_mode & S_IFMT != S_IFSOCK else { return }
        let kind = found.st_mode & S_IFMT == S_IFDIR ? "a folder" : found.st_mode & S_IFMT == S_IFREG ? "a file" : "something else"
        throw .unreachable("no server answers at '\(path)', which is \(kind) and no socket: give --socket the path that adapterd prints when it starts")
    }

    private func reply(_ parts: NIOAsyncChannelInboundStream<HTTPClientResponsePart>) async throws -> Reply {
        var head: HTTPResponseHead?
        var body = Data()
        for try await part in parts {
            switch part {
            case .head(let received): head = received
            case .body(let piece): body.append(contentsOf: piece.readableBytesView)
            case .end:
                guard let head else { break }
                return Reply(status: Int(head.status.code), retryAfter: head.headers.first(name: "retry-after").flatMap(Int.init), body: body)
            }
        }
        throw Failure.unreachable("the server at '\(path)' ended before it had answered")
    }

    /// A call that must answer with what was asked for. A full queue is waited for.
    /// - Throws: `refused` with the server's own sentence.
    func ask<Value: Decodable>(_ method: HTTPMethod, _ uri: String, body: Data? = nil) async throws -> Value {
        while true {
            let reply = try await call(method, uri, body: body)
            if reply.status < 400 { return try reply.decoded() }
            let error = try reply.decoded(ErrorBody.self).error
            guard reply.status == 429, let seconds = reply.retryAfter else {
                throw Failure.refused(error.message, status: reply.status, code: error.code)
            }
            try await Task.sleep(for: .seconds(seconds))
        }
    }
}

/// The result of the work, or `unreachable` after so many seconds.
func within<Value: Sendable>(seconds: Int, _ path: String, _ work: @escaping @Sendable () async throws -> Value) async throws -> Value {
    try await withThrowingTaskGroup(of: Value.self) { group in
        group.addTask { try await work() }
        group.addTask {
            try await Task.sleep(for: .seconds(seconds))
            throw Failure.unreachable("the server at '\(path)' does not answer within \(seconds) s")
        }
        defer { group.cancelAll() }
        guard let first = try await group.next() else { throw CancellationError() }
        return first
    }
}
