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

    @Test func aTricklingBodyIsCutOffThoughItNeverStops() throws {
        let channel = try channel()
        try channel.writeInbound(head)
        for _ in 0..<99 {
            loop.advanceTime(by: .milliseconds(100))
            try channel.writeInbound(HTTPRequestPart.body(ByteBuffer(string: " ")))
        }
        #expect(channel.isActive)
        loop.advanceTime(by: .milliseconds(200))
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

    @Test func aReplyThatIsNotTakenIsGivenUp() throws {
        let channel = try channel()
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
