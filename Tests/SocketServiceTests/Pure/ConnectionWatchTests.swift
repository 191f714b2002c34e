import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import SocketService
import Testing

/// The clocks of a connection, on a channel whose time the test moves.
struct ConnectionWatchTests {
    private let loop = EmbeddedEventLoop()

    private func channel() throws -> EmbeddedChannel {
        let connection = Connection(number: 1, peer: .user(uid: 1))
        let channel = EmbeddedChannel(handler: ConnectionWatch(connection, patience: .seconds(10)), loop: loop)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        return channel
    }

    private let head = HTTPRequestPart.head(HTTPRequest(method: .post, scheme: nil, authority: "x", path: "/v1/jobs"))

    private func trickle(_ channel: EmbeddedChannel) throws {
        try channel.writeInbound(head)
        for _ in 0..<99 {
            loop.advanceTime(by: .milliseconds(100))
            try channel.writeInbound(HTTPRequestPart.body(ByteBuffer(string: " ")))
        }
    }

    /// Its reader is told, and has the time of another turn for its answer to be read.
    @Test func aTricklingBodyIsRefusedThoughItNeverStops() throws {
        let channel = try channel()
        try trickle(channel)
        loop.advanceTime(by: .milliseconds(200))
        #expect(throws: ServiceError.bodyTooSlow) { try channel.throwIfErrorCaught() }
        #expect(ServiceError.bodyTooSlow.reply.status == .requestTimeout)
        loop.advanceTime(by: .seconds(1000))
        #expect(channel.isActive)
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .requestTimeout)))
        try channel.writeOutbound(HTTPResponsePart.end(nil))
        loop.advanceTime(by: .seconds(9))
        #expect(channel.isActive)
        try channel.writeInbound(HTTPRequestPart.body(ByteBuffer(string: " ")))
        loop.advanceTime(by: .seconds(1))
        #expect(!channel.isActive)
    }

    /// Where the answer was given before, there is nobody to tell.
    @Test func aBodyThatTricklesAfterItsAnswerIsCutOff() throws {
        let channel = try channel()
        try channel.writeInbound(head)
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .notFound)))
        try channel.writeOutbound(HTTPResponsePart.end(nil))
        loop.advanceTime(by: .seconds(10))
        try channel.throwIfErrorCaught()
        #expect(!channel.isActive)
    }

    @Test func aBodyThatHasArrivedStopsItsClock() throws {
        let channel = try channel()
        try channel.writeInbound(head)
        try channel.writeInbound(HTTPRequestPart.end(nil))
        loop.advanceTime(by: .seconds(1000))
        #expect(channel.isActive)
        try channel.close().wait()
    }

    /// The next request has as long to come as the first.
    @Test func anIdleConnectionEnds() throws {
        let channel = try channel()
        loop.advanceTime(by: .seconds(9))
        try channel.writeInbound(head)
        try channel.writeInbound(HTTPRequestPart.end(nil))
        loop.advanceTime(by: .seconds(1000))
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
        try channel.writeOutbound(HTTPResponsePart.end(nil))
        loop.advanceTime(by: .seconds(9))
        #expect(channel.isActive)
        loop.advanceTime(by: .seconds(1))
        #expect(!channel.isActive)
        let silent = try self.channel()
        loop.advanceTime(by: .seconds(10))
        #expect(!silent.isActive)
    }

    @Test func aReplyThatIsNotTakenIsGivenUp() throws {
        let channel = try channel()
        try channel.writeInbound(head)
        try channel.writeInbound(HTTPRequestPart.end(nil))
        channel.isWritable = false
        channel.pipeline.fireChannelWritabilityChanged()
        loop.advanceTime(by: .seconds(9))
        channel.isWritable = true
        channel.pipeline.fireChannelWritabilityChanged()
        loop.advanceTime(by: .seconds(100))
        #expect(channel.isActive)
        channel.isWritable = false
        channel.pipeline.fireChannelWritabilityChanged()
        loop.advanceTime(by: .seconds(10))
        #expect(!channel.isActive)
    }
}
