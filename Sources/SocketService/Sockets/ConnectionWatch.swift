import NIOCore
import NIOHTTPTypes

/// Notices on a channel what nobody notices while a response is being made: the peer leaves, a body that trickles in, a
/// response that is not taken.
final class ConnectionWatch: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let connection: Connection
    private let patience: TimeAmount
    private var bodyClock, takingClock: Scheduled<Void>?

    /// - Parameter patience: for a whole body to arrive, and for a full send buffer to move.
    init(_ connection: Connection, patience: TimeAmount) {
        self.connection = connection
        self.patience = patience
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head: bodyClock = closing(context)
        case .body: break
        case .end:
            bodyClock?.cancel()
            bodyClock = nil
        }
        context.fireChannelRead(data)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        takingClock?.cancel()
        takingClock = context.channel.isWritable ? nil : closing(context)
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // A half-closed connection counts as left: over TCP it looks like a client that went away.
        if case .some(.inputClosed) = event as? ChannelEvent { connection.peerLeft() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        stopClocks()
        connection.peerLeft()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { stopClocks() }

    private func stopClocks() {
        bodyClock?.cancel()
        takingClock?.cancel()
        (bodyClock, takingClock) = (nil, nil)
    }

    private func closing(_ context: ChannelHandlerContext) -> Scheduled<Void> {
        let channel = context.channel
        return context.eventLoop.scheduleTask(in: patience) { channel.close(promise: nil) }
    }
}
