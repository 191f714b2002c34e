import NIOCore

/// What a chunked body (RFC 9112, 7.1) may take, decided on its bytes before the parser has them: a chunk that makes the body too large is
/// refused by its announcement, and what stands around the chunks, such as their extensions, has a limit of its own.
///
/// Heads, and bodies of a known length, pass as they are. What is malformed is left to the parser, which says so.
package final class BodyFraming: ChannelInboundHandler, RemovableChannelHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer

    /// How a message ends, which its head says.
    package enum Framing: Sendable, Equatable {
        case length(Int)
        case chunked
    }

    private enum State: Equatable {
        /// In a head, of whose last four bytes, an empty line, so many were seen.
        case head(seen: Int)
        case content(left: Int)
        case chunkSize
        /// In what follows a chunk's size in its line.
        case chunkExtension
        case chunk(left: Int)
        case chunkEnd
        /// At the beginning of a line after the last chunk, or within one.
        case trailer(isEmpty: Bool)
        /// All passes, for the parser to refuse.
        case malformed
        /// Nothing passes any more.
        case refused
    }

    /// Bytes around the chunks of one body: sizes, extensions, ends of lines.
    package static let overhead = 16 << 10

    private let bodyLimit: Int
    private var state = State.head(seen: 0)
    private var announced: Framing?
    private var size = (value: UInt64(0), digits: 0)
    private var body = 0, around = 0
    /// Whether a head has begun and not ended.
    private(set) var isInHead = false

    /// - Parameter bodyLimit: bytes of a body.
    package init(bodyLimit: Int) { self.bodyLimit = bodyLimit }

    /// Tells how the message ends whose head has just been passed on.
    package func announce(_ framing: Framing) { announced = framing }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        while buffer.readableBytes > 0, state != .refused {
            if state == .malformed { return context.fireChannelRead(wrapInboundOut(buffer)) }
            guard case .head = state else {
                let (taken, refusal) = take(buffer.readableBytesView)
                if let refusal {
                    state = .refused
                    return context.fireErrorCaught(refusal)
                }
                pass(&buffer, taken, context)
                continue
            }
            let (taken, isWhole) = takeHead(buffer.readableBytesView)
            announced = nil
            pass(&buffer, taken, context)
            // Empty lines before a request are no head, and what is no request has none.
            guard isWhole else { continue }
            isInHead = false
            if let announced { begin(announced) } else { state = .head(seen: 0) }
        }
    }

    private func pass(_ buffer: inout ByteBuffer, _ count: Int, _ context: ChannelHandlerContext) {
        if let piece = buffer.readSlice(length: count) { context.fireChannelRead(wrapInboundOut(piece)) }
    }

    private func begin(_ framing: Framing) {
        (body, around, size) = (0, 0, (0, 0))
        switch framing {
        case .length(let length): state = length > 0 ? .content(left: length) : .head(seen: 0)
        case .chunked: state = .chunkSize
        }
    }

    private func takeHead(_ bytes: ByteBufferView) -> (count: Int, isWhole: Bool) {
        guard case .head(var seen) = state else { return (0, false) }
        for (index, byte) in bytes.enumerated() {
            let isReturn = byte == UInt8(ascii: "\r"), isEnd = byte == UInt8(ascii: "\n")
            if !isReturn, !isEnd { isInHead = true }
            seen = isReturn ? (seen == 2 ? 3 : 1) : isEnd ? (seen == 1 ? 2 : seen == 3 ? 4 : 0) : 0
            if seen == 4 { return (index + 1, true) }
        }
        state = .head(seen: seen)
        return (bytes.count, false)
    }

    /// Takes bytes of a body, up to its end at most.
    private func take(_ bytes: ByteBufferView) -> (count: Int, refusal: ServiceError?) {
        var index = bytes.startIndex
        while index < bytes.endIndex {
            switch state {
            case .head, .malformed, .refused: return (index - bytes.startIndex, nil)
            case .content(let left), .chunk(let left):
                let taken = min(left, bytes.endIndex - index)
                index += taken
                if case .content = state {
                    state = taken < left ? .content(left: left - taken) : .head(seen: 0)
                } else {
                    state = taken < left ? .chunk(left: left - taken) : .chunkEnd
                }
            case .chunkSize, .chunkExtension, .chunkEnd, .trailer:
                if let refusal = take(bytes[index]) { return (index - bytes.startIndex, refusal) }
                index += 1
            }
        }
        return (bytes.count, nil)
    }

    /// Takes a byte of what stands around the chunks.
    private func take(_ byte: UInt8) -> ServiceError? {
        let isEnd = byte == UInt8(ascii: "\n")
        // Trailer lines are counted by the parser, as those of a head.
        if case .trailer(let isEmpty) = state {
            state = isEnd ? (isEmpty ? .head(seen: 0) : .trailer(isEmpty: true)) : .trailer(isEmpty: isEmpty && byte == UInt8(ascii: "\r"))
            return nil
        }
        around += 1
        guard around <= Self.overhead else { return .malformedRequest("its chunks take more than \(Self.overhead) bytes beside what they hold") }
        switch state {
        case .chunkSize:
            if let digit = Character(UnicodeScalar(byte)).hexDigitValue {
                if size.value > 0 || digit > 0 { size.digits += 1 }
                // More digits than any size has are the parser's to refuse.
                guard size.digits <= 16 else { state = .malformed; return nil }
                size.value = size.value << 4 | UInt64(digit)
                return nil
            }
            guard [";", "\r", " ", "\t"].contains(Character(UnicodeScalar(byte))) else { state = .malformed; return nil }
            guard size.value <= UInt64(bodyLimit - body) else { return .bodyTooLarge(limit: bodyLimit) }
            body += Int(size.value)
            state = .chunkExtension
        case .chunkExtension where isEnd:
            state = size.value == 0 ? .trailer(isEmpty: true) : .chunk(left: Int(size.value))
            size = (0, 0)
        case .chunkEnd where isEnd: state = .chunkSize
        default: break
        }
        return nil
    }
}
