import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOExtras
import NIOHTTPTypesHTTP1
import NIOPosix
import ServiceLifecycle
import Synchronization
import SystemIO

/// Accepts connections at one address and hands their requests to the service.
///
/// Hummingbird's own server binds by itself; this one also takes sockets that are bound already (ours with its mode set,
/// systemd's), and tells each request which connection it came on.
package struct Listener: Service {
    package enum Address: Sendable {
        /// A bound Unix socket, ours or systemd's.
        case unix(descriptor: Int32)
        /// A bound loopback TCP socket, ours or systemd's.
        case loopback(descriptor: Int32)
    }

    let address: Address
    let limits: RequestLimits
    /// At one time; more wait to be accepted.
    let connections: Int
    /// Time for an idle connection to begin a request, for a body to arrive and for a reply to be taken.
    let patience: Duration
    let logger: Logger
    /// One count for all listeners: a connection's number is its own.
    let numbers: ConnectionNumbers
    /// Names that a client may call the server by over TCP.
    let hosts: HostRule
    let respond: @Sendable (Request, Connection, any Channel) async -> Response

    package func run() async throws {
        let quiescing = ServerQuiescingHelper(group: MultiThreadedEventLoopGroup.singleton)
        let server = try await bind(quiescing)
        logger.info("listening", metadata: ["address": "\(server.channel.localAddress.map { "\($0)" } ?? "a socket")"])
        await withGracefulShutdownHandler {
            await withDiscardingTaskGroup { group in
                do {
                    try await server.executeThenClose { connections in
                        for try await (http, channel) in connections {
                            group.addTask { await http.handle(value: channel, logger: logger) }
                        }
                    }
                } catch {
                    logger.error("listening ended", metadata: ["reason": "\(words(of: error))"])
                }
            }
        } onGracefulShutdown: {
            quiescing.initiateShutdown(promise: nil)
        }
    }

    private typealias Accepted = (HTTP1Channel, HTTP1Channel.Value)

    private func bind(_ quiescing: ServerQuiescingHelper) async throws -> NIOAsyncChannel<Accepted, Never> {
        let accept: @Sendable (any Channel) -> EventLoopFuture<Accepted> = { channel in
            peer(of: channel).flatMap { peer in setUp(channel, Connection(number: numbers.next(), peer: peer)) }
        }
        let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: 256)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handlers = channel.pipeline.syncOperations
                    try handlers.addHandler(AvailableConnectionsChannelHandler(maxConnections: connections))
                    try handlers.addHandler(quiescing.makeServerChannelHandler(channel: channel))
                    try handlers.addHandler(AcceptFaults(logger))
                }
            }
        return switch address {
        case .unix(let descriptor), .loopback(let descriptor): try await bootstrap.bind(descriptor, childChannelInitializer: accept)
        }
    }

    /// One channel's pipeline: HTTP/1.1 with limits, and our watch.
    private func setUp(_ channel: any Channel, _ connection: Connection) -> EventLoopFuture<Accepted> {
        let patience = TimeAmount(patience)
        let http = HTTP1Channel(
            responder: { request, writer, channel in
                let response = await respond(request, connection, channel)
                try await writer.write(response: response.head, body: response.body)
            },
            configuration: HTTP1Channel.Configuration(
                additionalChannelHandlers: [ConnectionWatch(connection, patience: patience)],
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: limits.headerBytes, maxHeaderListSize: limits.headerBytes, maxHeaderFieldCount: 100)))
        let hosts: HostRule? = if case .unix = address { nil } else { hosts }
        return http.setup(channel: channel, logger: logger).flatMapThrowing { value in
            // Between HTTP/1 itself and what makes version-less requests of it.
            let handlers = channel.pipeline.syncOperations
            let codec = try handlers.handler(type: HTTP1ToHTTPServerCodec.self)
            let framing = BodyFraming(bodyLimit: limits.bodyBytes)
            try handlers.addHandler(framing, position: .first)
            try handlers.addHandler(MessageRules(connection, hosts: hosts, bodyLimit: limits.bodyBytes, framing: framing), position: .before(codec))
            return (http, value)
        }
    }

    /// Asked of the kernel, so no client can lie about it.
    private func peer(of channel: any Channel) -> EventLoopFuture<Connection.Peer> {
        guard case .unix = address, let provider = channel as? any SocketOptionProvider else {
            return channel.eventLoop.makeSucceededFuture(.loopback(address: channel.remoteAddress?.ipAddress ?? "unknown"))
        }
        return SystemCalls.peerUser(provider).map { .user(uid: $0) }
    }
}

/// A connection that cannot be accepted is no reason to stop listening.
private final class AcceptFaults: ChannelInboundHandler {
    typealias InboundIn = any Channel
    private let logger: Logger

    init(_ logger: Logger) { self.logger = logger }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { logger.error("not accepted", metadata: ["reason": "\(words(of: error))"]) }
}

final class ConnectionNumbers: Sendable {
    private let last = Atomic<UInt64>(0)
    func next() -> UInt64 { last.add(1, ordering: .relaxed).newValue }
}
