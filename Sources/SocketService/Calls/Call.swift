import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NIOHTTP1

/// One HTTP request on its way through the service.
struct Call: Sendable {
    let request: Request
    let connection: Connection
    let parameters: Parameters
    let logger: Logger

    /// The whole body, or a refusal.
    func body(limit: Int) async throws(ServiceError) -> [UInt8] {
        if let encoding = request.headers[.contentEncoding], encoding.lowercased() != "identity" { throw .encodedBody(String(encoding.prefix(32))) }
        // A length that no number holds is one too large; what is no number at all never comes this far.
        if let announced = request.headers[.contentLength], Int(announced).map({ $0 > limit }) ?? true { throw .bodyTooLarge(limit: limit) }
        do {
            let buffer = try await request.body.collect(upTo: limit)
            return Array(buffer.readableBytesView)
        } catch is NIOTooManyBytesError {
            throw .bodyTooLarge(limit: limit)
        } catch let error as ServiceError {
            throw error
        } catch let error as HTTPParserError {
            throw .malformedRequest(error.words)
        } catch {
            throw .clientLeft
        }
    }
}

/// What Hummingbird's router carries from the connection to the handler.
struct CallContext: RequestContext {
    struct Source: RequestContextSource {
        let logger: Logger
        let connection: Connection
    }

    var coreContext: CoreRequestContextStorage
    let connection: Connection

    init(source: Source) {
        coreContext = CoreRequestContextStorage(source: source)
        connection = source.connection
    }
}
