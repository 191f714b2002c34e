import NIOCore
import NIOHTTPTypes

/// Notices on a channel what nobody notices while a response is being made: the peer leaves, a request that does not come or
/// trickles in, a response that is not taken. A peer that only stopped sending has not left.
///
/// A body that has not arrived in time is an error of its reader, `ServiceError.bodyTooSlow`, which answers it.
package final class ConnectionWatch: ChannelDuplexHandler, RemovableChannelHandler {
    package typealias InboundIn = HTTPRequestPart
    package typealias InboundOut = HTTPRequestPart
    package typealias OutboundIn = HTTPResponsePart
    package typealias OutboundOut = HTTPResponsePart

    private let connection: Connection
    private let patience: TimeAmount
    private var idleClock, bodyClock, takingClock: Scheduled<Void>?
    /// Requests whose response has not ended.
    private var unanswered = 0

    /// - Parameter patience: for the next request's head, for a whole body to arrive, and for a full send buffer to move.
    package init(_ connection: Connection, patience: TimeAmount) {
        self.connection = connection
        self.patience = patience
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head:
            unanswered += 1
            idleClock?.cancel()
            idleClock = nil
            bodyClock?.cancel()
            bodyClock = refusing(context)
        case .body: break
        case .end:
            bodyClock?.cancel()
            bodyClock = nil
        }
        context.fireChannelRead(data)
    }

    package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .end = unwrapOutboundIn(data) {
            unanswered = max(0, unanswered - 1)
            if unanswered == 0 { waitForRequest(context) }
        }
        context.write(data, promise: promise)
    }

    package func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { waitForRequest(context) }
    }

    package func channelActive(context: ChannelHandlerContext) {
        waitForRequest(context)
        context.fireChannelActive()
    }

    private func waitForRequest(_ context: ChannelHandlerContext) {
        idleClock?.cancel()
        idleClock = closing(context)
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
        for clock in [idleClock, bodyClock, takingClock] { clock?.cancel() }
        (idleClock, bodyClock, takingClock) = (nil, nil, nil)
    }

    private func refusing(_ context: ChannelHandlerContext) -> Scheduled<Void> {
        context.eventLoop.assumeIsolated().scheduleTask(in: patience) { [self] in
            guard unanswered > 0 else { return context.channel.close(promise: nil) }
            context.fireErrorCaught(ServiceError.bodyTooSlow)
        }
    }

    private func closing(_ context: ChannelHandlerContext) -> Scheduled<Void> {
        let channel = context.channel
        return context.eventLoop.scheduleTask(in: patience) { channel.close(promise: nil) }
    }
}
