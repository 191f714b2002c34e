import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// One HTTP request on its way through the service.
struct Call: Sendable {
    let request: Request
    let connection: Connection
    let parameters: Parameters
    let logger: Logger

    /// The whole body, or a refusal.
    func body(limit: Int) async throws(ServiceError) -> [UInt8] {
        if let announced = request.headers[.contentLength].flatMap(Int.init), announced > limit { throw .bodyTooLarge(limit: limit) }
        do {
            let buffer = try await request.body.collect(upTo: limit)
            return Array(buffer.readableBytesView)
        } catch is NIOTooManyBytesError {
            throw .bodyTooLarge(limit: limit)
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
