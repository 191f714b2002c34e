import NIOCore
import NIOEmbedded
import SocketService
import Testing

/// What chunked bodies may take, byte by byte.
struct BodyFramingTests {
    /// Stands where the parser does: says of each head how its message ends, and keeps what it was given.
    private final class Parser: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        let framing: BodyFraming
        let announcement: BodyFraming.Framing?
        var text = ""

        init(_ framing: BodyFraming, _ announcement: BodyFraming.Framing?) { (self.framing, self.announcement) = (framing, announcement) }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            text += String(buffer: unwrapInboundIn(data))
            if text.hasSuffix("head\r\n\r\n"), let announcement { framing.announce(announcement) }
        }
    }

    /// What reaches the parser of these pieces, and what is refused.
    private func read(_ pieces: [String], _ announcement: BodyFraming.Framing? = .chunked, limit: Int = 100) throws -> (text: String, refusal: ServiceError?) {
        let framing = BodyFraming(bodyLimit: limit), parser = Parser(framing, announcement)
        let channel = EmbeddedChannel(handlers: [framing, parser])
        do { for piece in pieces { try channel.writeInbound(ByteBuffer(string: piece)) } } catch {
            return (parser.text, error as? ServiceError)
        }
        return (parser.text, nil)
    }

    private let head = "head\r\n\r\n"

    @Test(arguments: [
        "5\r\nhello\r\n0\r\n\r\n", "5;a=b;c=\"d\"\r\nhello\r\n0;x\r\nTrailer: 1\r\n\r\n",
        "00000005\r\nhello\r\n3C\r\n\(String(repeating: "\n", count: 60))\r\n0\r\n\r\n",
        // The parser's to refuse.
        "zz\r\n", "\r\n", "-5\r\n", "fffffffffffffffff\r\nhello", "5\r\nhello5\r\n",
    ])
    func whatFitsPassesAsItIs(body: String) throws {
        let text = head + body + (body.hasSuffix("\r\n\r\n") ? head + body : "")
        for pieces in [[text], text.map(String.init)] {
            let result = try read(pieces)
            #expect(result.text == text, "\(body.debugDescription)")
            #expect(result.refusal == nil, "\(body.debugDescription)")
        }
    }

    /// By its announcement, before any of it has come.
    @Test(arguments: ["65\r\n", "ffffffffff;", "5\r\nhello\r\n60\r\n", "7fffffffffffffff\r\n", "000ffffffffffffffff "])
    func aChunkThatMakesTheBodyTooLargeIsRefusedAtOnce(body: String) throws {
        for pieces in [[head + body], (head + body).map(String.init)] {
            #expect(try read(pieces).refusal == .bodyTooLarge(limit: 100), "\(body.debugDescription)")
        }
    }

    @Test func whatStandsAroundTheChunksIsLimited() throws {
        let long = head + "5;" + String(repeating: "x", count: BodyFraming.overhead)
        #expect(try read([long]).refusal?.reply.status == .badRequest)
        let tiny = { String(repeating: "1\r\nx\r\n", count: $0) }
        #expect(try read([head + tiny(4000)], limit: 1 << 16).refusal?.description.contains("its chunks take more than 16384 bytes") == true)
        #expect(try read([head + tiny(3000)], limit: 1 << 16).refusal == nil)
        // A body of known length has none, and the next message begins after it.
        let known = head + long.dropFirst(head.count).prefix(90)
        #expect(try read([known + head], .length(90)).text == known + head)
    }

    /// A message that the parser makes nothing of passes to its end.
    @Test func whatHasNoHeadPasses() throws {
        let text = "\r\n\r\nGET\r\n\r\nffffff\r\n"
        #expect(try read([text], nil) == (text, nil))
    }
}
