import HTTPTypes
import Hummingbird
import Logging
import NIOCore

extension SamplingService {
    /// Hummingbird's router over the route table.
    func router() -> RouterResponder<CallContext> {
        let router = Router(context: CallContext.self, options: .autoGenerateHeadEndpoints)
        for route in Route.all {
            router.on(RouterPath(route.path), method: route.method) { request, context in
                let authorization = request.headers[.authorization]
                guard context.connection.mayMake(route.access, authorization: authorization, token: token) else {
                    throw ServiceError.unauthorised
                }
                let call = Call(request: request, connection: context.connection, parameters: context.parameters, logger: context.logger)
                return try await route.answer(self, call)
            }
        }
        return router.buildResponder()
    }

    /// The door from a connection: always an answer, with a request id, one log line and one count.
    func respond(_ router: RouterResponder<CallContext>) -> @Sendable (Request, Connection, any Channel) async -> Response {
        { request, connection, _ in
            let id = String(UInt64.random(in: .min ... .max), radix: 16)
            var logger = logger
            logger[metadataKey: "request"] = "\(id)"
            let start = ContinuousClock.now
            let context = CallContext(source: CallContext.Source(logger: logger, connection: connection))
            var response: Response
            do {
                response = try await router.respond(to: request, context: context)
                if response.status == .notFound, context.endpointPath == "NotFound" { throw ServiceError.noSuchCall(request.summary) }
            } catch let error as ServiceError {
                metrics.count(refusal: error)
                logger.debug("refused", metadata: ["reason": "\(error)"])
                response = Response(error)
            } catch {
                logger.error("unexpected", metadata: ["reason": "\(error)"])
                response = Response(ServiceError.failed("an unexpected fault; the log has it under \(id)"))
            }
            // An error's body too stays away from an answer to HEAD.
            if request.method == .head { response = response.createHeadResponse() }
            response.headers[HTTPField.Name("x-request-id")!] = id
            response.headers[.xContentTypeOptions] = "nosniff"
            logger.info(
                "answered",
                metadata: [
                    "call": "\(request.summary)", "status": "\(response.status.code)", "connection": "\(connection.number)",
                    "ms": "\((ContinuousClock.now - start).milliseconds)",
                ])
            return response
        }
    }
}

extension Request {
    /// Method and path, cut to a length that fits a log line.
    fileprivate var summary: String { "\(method.rawValue.prefix(16)) \(uri.path.prefix(128))" }
}
