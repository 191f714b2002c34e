import NIOCore
import NIOHTTPTypes

/// Notices on a channel what nobody notices while a response is being made: the peer leaves, a body that trickles in, a
/// response that is not taken. A peer that only stopped sending has not left.
package final class ConnectionWatch: ChannelDuplexHandler, RemovableChannelHandler {
    package typealias InboundIn = HTTPRequestPart
    package typealias InboundOut = HTTPRequestPart
    package typealias OutboundIn = HTTPResponsePart
    package typealias OutboundOut = HTTPResponsePart

    private let connection: Connection
    private let patience: TimeAmount
    private var bodyClock, takingClock: Scheduled<Void>?

    /// - Parameter patience: for a whole body to arrive, and for a full send buffer to move.
    package init(_ connection: Connection, patience: TimeAmount) {
        self.connection = connection
        self.patience = patience
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head: bodyClock = closing(context)
        case .body: break
        case .end:
            bodyClock?.cancel()
            bodyClock = nil
        }
        context.fireChannelRead(data)
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        takingClock?.cancel()
        takingClock = context.channel.isWritable ? nil : closing(context)
        context.fireChannelWritabilityChanged()
    }

    package func channelInactive(context: ChannelHandlerContext) {
        stopClocks()
        connection.peerLeft()
        context.fireChannelInactive()
    }

    package func handlerRemoved(context: ChannelHandlerContext) { stopClocks() }

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
