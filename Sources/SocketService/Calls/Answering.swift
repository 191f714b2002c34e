import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import SystemIO

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
                // What is the same for everybody is answered at once, whatever else is asked of the server.
                if route.isConstant { return try await route.answer(self, call) }
                return try await work.run { () async throws(ServiceError) in try await route.answer(self, call) }
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
                if let fault = request.headers[.headFault].flatMap(HeadFault.init) { throw ServiceError(fault, request) }
                response = try await router.respond(to: request, context: context)
                if response.status == .notFound, context.endpointPath == "NotFound" { response = try withoutCall(request) }
            } catch let error as ServiceError {
                metrics.count(refusal: error)
                logger.debug("refused", metadata: ["reason": "\(error)"])
                response = Response(error)
            } catch {
                logger.error("unexpected", metadata: ["reason": "\(words(of: error))"])
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

/// A path without a call of this method: OPTIONS is answered with what there is, all else refused with it.
private func withoutCall(_ request: Request) throws(ServiceError) -> Response {
    let allowed = Route.methods(at: request.uri.path)
    if allowed.isEmpty { throw .noSuchCall(request.summary) }
    guard request.method == .options else { throw .wrongMethod(request.summary, allowed: allowed) }
    return Response(status: .noContent, headers: [.allow: allowed.joined(separator: ", ")])
}

extension HTTPField.Name {
    fileprivate static var headFault: HTTPField.Name { HTTPField.Name(HeadFault.field)! }
}

extension ServiceError {
    fileprivate init(_ fault: HeadFault, _ request: Request) {
        self =
            switch fault {
            case .noHost: .malformedRequest("HTTP/1.1 needs a Host header")
            case .twoHosts: .malformedRequest("it has more than one Host header")
            case .badHost: .malformedRequest("its Host header is no name or address with a port")
            case .foreignHost: .foreignHost(String((request.head.authority ?? "").prefix(128)))
            case .transferCoding: .malformedRequest("its Transfer-Encoding is not 'chunked' alone, the only one that this server reads")
            case .expectation: .badExpectation
            }
    }
}

extension Request {
    /// Method and path, cut to a length that fits a log line.
    fileprivate var summary: String { "\(method.rawValue.prefix(16)) \(uri.path.prefix(128))" }
}
