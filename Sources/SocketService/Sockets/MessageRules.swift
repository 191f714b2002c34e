import HTTPTypes
import NIOCore
import NIOHTTP1

/// What is wrong with a request before anything of it is looked at; travels in a header that no client can send.
enum HeadFault: String {
    case noHost = "no-host"
    case twoHosts = "two-hosts"
    case badHost = "bad-host"
    case foreignHost = "foreign-host"
    case transferCoding = "transfer-coding"
    case expectation

    static let field = "x-difffit-head-fault"
}

/// What HTTP/1 (RFC 9112) asks of a server about messages and connections, decided on the channel before the library above sees a request:
/// persistence by version and `Connection`, framing for HTTP/1.0, `Expect`, `Host`, and the words of an answer to what is no HTTP.
///
/// The library above knows one spelling, `Connection: close`, so a request's wish is put into it.
final class MessageRules: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// A request whose response has not ended, oldest first.
    private struct Exchange {
        let isOld: Bool
        let isHead: Bool
        var isClosing: Bool
        var waitsForContinue: Bool
        var hasBegun = false
    }

    private let connection: Connection
    /// nil where any `Host` is right: nobody's browser reaches a Unix socket.
    private let hosts: HostRule?
    private let bodyLimit: Int
    private let framing: BodyFraming
    private var exchanges = CircularBuffer<Exchange>()
    private var parserError: HTTPParserError?
    /// What comes can no longer be understood: the parser gave up, or the framing refused it.
    private var isBroken = false
    /// Nothing more is read or written: the last response has ended.
    private var isOver = false
    private var isAnsweringNonsense = false

    /// - Parameter framing: on the same channel, before the parser.
    init(_ connection: Connection, hosts: HostRule?, bodyLimit: Int, framing: BodyFraming) {
        self.connection = connection
        self.hosts = hosts
        self.bodyLimit = bodyLimit
        self.framing = framing
    }

    // MARK: In

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isOver else { return }
        guard case .head(var head) = unwrapInboundIn(data) else { return context.fireChannelRead(data) }
        let isChunked = head.headers.contains(name: "transfer-encoding")
        framing.announce(isChunked ? .chunked : .length(head.headers.first(name: "content-length").map { Int($0) ?? .max } ?? 0))
        let wishes = tokens(head.headers["connection"])
        let isOld = head.version.major == 1 && head.version.minor == 0
        let fault = self.fault(of: head, isOld: isOld)
        // After an offer to speak another protocol, which is passed over, the parser below reads nothing more.
        let isLast = wishes.contains("close") || wishes.contains("upgrade") || head.method == .CONNECT || (isOld && !wishes.contains("keep-alive"))
        var exchange = Exchange(isOld: isOld, isHead: head.method == .HEAD, isClosing: fault != nil || isLast, waitsForContinue: false)
        exchange.waitsForContinue = fault == nil && !isOld && !tokens(head.headers["expect"]).isEmpty && hasBody(head.headers)
        for name in ["connection", HeadFault.field] { head.headers.remove(name: name) }
        if exchange.isClosing { head.headers.add(name: "connection", value: "close") }
        if let fault { head.headers.add(name: HeadFault.field, value: fault.rawValue) }
        // The name in a request's target stands in the place of its Host (RFC 9112, 3.2.2).
        if let host = HostRule.named(in: head.uri) { head.headers.replaceOrAdd(name: "host", value: host) }
        exchanges.append(exchange)
        sayContinue(context)
        context.fireChannelRead(wrapInboundOut(.head(head)))
    }

    private func fault(of head: HTTPRequestHead, isOld: Bool) -> HeadFault? {
        let named = head.headers["host"]
        if named.count > 1 { return .twoHosts }
        if named.isEmpty, !isOld { return .noHost }
        if let host = named.first, !HostRule.isWellFormed(host) { return .badHost }
        if let hosts {
            guard hosts.admits(HostRule.named(in: head.uri) ?? named.first ?? "localhost") else { return .foreignHost }
        }
        // Another coding would be taken for the body itself.
        let codings = tokens(head.headers["transfer-encoding"])
        guard codings.isEmpty || codings == ["chunked"] else { return .transferCoding }
        let expectations = isOld ? [] : tokens(head.headers["expect"])
        return expectations.allSatisfy { $0 == "100-continue" } ? nil : .expectation
    }

    /// Whether a body comes that will be taken: one that is announced as too large gets its refusal in place of a "continue".
    private func hasBody(_ headers: HTTPHeaders) -> Bool {
        if headers.contains(name: "transfer-encoding") { return true }
        return headers.first(name: "content-length").flatMap(Int.init).map { $0 > 0 && $0 <= bodyLimit } ?? false
    }

    /// Only the oldest open request may be told to go on; the others after it.
    private func sayContinue(_ context: ChannelHandlerContext) {
        guard let first = exchanges.first, first.waitsForContinue, !first.hasBegun else { return }
        exchanges[exchanges.startIndex].waitsForContinue = false
        context.writeAndFlush(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // The parser says again and again that it has given up.
        guard !isBroken else { return }
        parserError = error as? HTTPParserError
        isBroken = parserError != nil || error is ServiceError
        context.fireErrorCaught(error)
        drop(context)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        drop(context)
    }

    /// What a client still sends after its last answer is read and dropped, so that it comes to reading: until it closes, or the
    /// connection's clock does.
    private func drop(_ context: ChannelHandlerContext) {
        if isOver || isBroken { context.read() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .some(.inputClosed) = event as? ChannelEvent, case .loopback = connection.peer, let first = exchanges.first, !first.hasBegun {
            // A client that only stopped sending passes over another "continue"; one that has gone makes the system say so at once. An old one
            // knows no such answer. (On a Unix socket the two are told apart by the system itself.)
            if first.isOld {
                connection.peerLeft()
            } else {
                context.writeAndFlush(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
            }
        }
        context.fireUserInboundEventTriggered(event)
    }

    // MARK: Out

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard !isOver else {
            promise?.succeed()
            return
        }
        switch unwrapOutboundIn(data) {
        case .head(let head) where (100..<200).contains(head.status.code): context.write(data, promise: promise)
        case .head(let head) where exchanges.isEmpty: answerNonsense(context, head, promise)
        case .head(let head): begin(context, head, promise)
        case .body: context.write(data, promise: promise)
        case .end: end(context, data, promise)
        }
    }

    private func begin(_ context: ChannelHandlerContext, _ given: HTTPResponseHead, _ promise: EventLoopPromise<Void>?) {
        var head = given
        var exchange = exchanges[exchanges.startIndex]
        exchange.hasBegun = true
        let isFramed = head.headers.contains(name: "content-length") || exchange.isHead || [204, 304].contains(head.status.code)
        // What is left of a body that came too slowly is not waited for.
        if isBroken || head.status == .requestTimeout || tokens(head.headers["connection"]).contains("close") || (exchange.isOld && !isFramed) {
            exchange.isClosing = true
        }
        if exchange.isOld { head.version = .http1_0 }
        head.headers.remove(name: "connection")
        if exchange.isClosing {
            head.headers.add(name: "connection", value: "close")
        } else if exchange.isOld {
            head.headers.add(name: "connection", value: "keep-alive")
        }
        exchanges[exchanges.startIndex] = exchange
        context.write(wrapOutboundOut(.head(head)), promise: promise)
    }

    /// The library's own answer to what is no HTTP is a bare 400; it gets its words here.
    private func answerNonsense(_ context: ChannelHandlerContext, _ given: HTTPResponseHead, _ promise: EventLoopPromise<Void>?) {
        isAnsweringNonsense = true
        say(.malformedRequest(parserError?.words ?? "it cannot be read"), given.status, context, promise)
    }

    /// A connection whose next request does not come is closed; where its head has begun, that is said.
    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if mode == .all, exchanges.isEmpty, !isOver, !isBroken, framing.isInHead {
            isOver = true
            say(.headTooSlow, .requestTimeout, context, nil)
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        }
        context.close(mode: mode, promise: promise)
    }

    private func say(_ error: ServiceError, _ status: HTTPResponseStatus, _ context: ChannelHandlerContext, _ promise: EventLoopPromise<Void>?) {
        var body = json(ErrorReply(error))
        body.writeString("\n")
        let headers: HTTPHeaders = [
            "content-type": "application/json; charset=utf-8", "content-length": "\(body.readableBytes)", "connection": "close",
        ]
        context.write(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers))), promise: promise)
        context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
    }

    private func end(_ context: ChannelHandlerContext, _ data: NIOAny, _ promise: EventLoopPromise<Void>?) {
        let exchange = exchanges.popFirst()
        guard isAnsweringNonsense || exchange?.isClosing == true else {
            context.write(data, promise: promise)
            return sayContinue(context)
        }
        isOver = true
        context.writeAndFlush(data, promise: promise)
        context.close(mode: .output, promise: nil)
        drop(context)
    }
}

/// The lower-case tokens of a list that may be spread over several lines.
private func tokens(_ lines: [String]) -> [String] {
    lines.flatMap { $0.split(separator: ",") }.map { $0.trimming(while: \.isWhitespace).lowercased() }.filter { !$0.isEmpty }
}

extension Substring {
    fileprivate func trimming(while isDropped: (Character) -> Bool) -> Substring {
        let rest = drop(while: isDropped)
        return rest[..<(rest.lastIndex { !isDropped($0) }.map { rest.index(after: $0) } ?? rest.startIndex)]
    }
}

extension HTTPParserError {
    /// What is wrong, in words that end "The request cannot be read: ...".
    var words: String {
        switch self {
        case .headerOverflow: "its header or trailer lines are too long or too many"
        case .invalidContentLength, .unexpectedContentLength: "its Content-Length is no number, is there twice, or stands beside Transfer-Encoding"
        case .invalidChunkSize: "the size of a chunk is no hexadecimal number"
        case .invalidEOFState, .closedConnection: "it ended early"
        case .invalidMethod: "its method is not known"
        case .invalidVersion: "it is not HTTP/1.0 or HTTP/1.1"
        case .invalidHeaderToken: "a header's name or value has characters that may not be there"
        case .invalidHost, .invalidPort, .invalidPath, .invalidURL, .invalidQueryString, .invalidFragment: "its address is malformed"
        default: "it is no HTTP/1.1 message"
        }
    }
}
