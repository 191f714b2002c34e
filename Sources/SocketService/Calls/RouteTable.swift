import HTTPTypes
import Hummingbird

/// Who may make a call.
package enum Access: String, Sendable, CaseIterable {
    /// Says nothing about the store and costs nothing.
    case anyone
    /// Over the Unix socket the file's mode has decided; over TCP the token decides.
    case client
}

/// One call of the service. There is no call without an access level, and none outside this table.
package struct Route: Sendable {
    package let method: HTTPRequest.Method
    package let path: String
    package let access: Access
    /// Whether the answer takes no work at all.
    package var isConstant = false
    let answer: @Sendable (SamplingService, Call) async throws(ServiceError) -> Response

    package static let all: [Route] = [
        Route(method: .get, path: "/", access: .anyone, isConstant: true) { service, _ in service.page.response },
        Route(method: .get, path: "/healthz", access: .anyone, isConstant: true) { _, _ in Response(text: "ok\n", type: "text/plain; charset=utf-8") },
        Route(method: .get, path: "/readyz", access: .anyone) { service, call throws(ServiceError) in try await service.readiness(call) },
        Route(method: .get, path: "/metrics", access: .client) { service, _ in await service.metricsText() },
        Route(method: .get, path: "/v1/capabilities", access: .client) { service, _ throws(ServiceError) in try service.capabilitiesReply() },
        Route(method: .get, path: "/v1/models", access: .client) { service, _ throws(ServiceError) in try service.models() },
        Route(method: .get, path: "/v1/models/:ref", access: .client) { service, call throws(ServiceError) in try service.model(call) },
        Route(method: .get, path: "/v1/adapters", access: .client) { service, _ throws(ServiceError) in try service.adapters() },
        Route(method: .get, path: "/v1/adapters/:ref", access: .client) { service, call throws(ServiceError) in try service.adapter(call) },
        Route(method: .get, path: "/v1/recipes/:recipe", access: .client) { service, call throws(ServiceError) in try await service.recipe(call) },
        Route(method: .post, path: "/v1/images/generations", access: .client) { service, call throws(ServiceError) in
            try await service.generate(call)
        },
        Route(method: .get, path: "/v1/jobs", access: .client) { service, call in await service.listJobs(call) },
        Route(method: .post, path: "/v1/jobs", access: .client) { service, call throws(ServiceError) in try await service.startJob(call) },
        Route(method: .get, path: "/v1/jobs/:id", access: .client) { service, call throws(ServiceError) in try await service.job(call) },
        Route(method: .get, path: "/v1/jobs/:id/events", access: .client) { service, call throws(ServiceError) in
            try await service.jobEvents(call)
        },
        Route(method: .delete, path: "/v1/jobs/:id", access: .client) { service, call throws(ServiceError) in
            try await service.cancelJob(call)
        },
    ]
}

extension Route {
    /// The methods of a path, as `Allow` lists them; none where there is no call. GET is HEAD too.
    static func methods(at path: String) -> [String] {
        if path == "*" { return ["DELETE", "GET", "HEAD", "OPTIONS", "POST"] }
        let parts = path.split(separator: "/")
        let fitting = all.filter { route in
            let own = route.path.split(separator: "/")
            return own.count == parts.count && zip(own, parts).allSatisfy { $0.hasPrefix(":") || $0 == $1 }
        }
        if fitting.isEmpty { return [] }
        return Set(fitting.flatMap { $0.method == .get ? ["GET", "HEAD"] : [$0.method.rawValue] } + ["OPTIONS"]).sorted()
    }
}

extension Connection {
    /// Whether the peer may make calls of this level.
    package func mayMake(_ access: Access, authorization: String?, token: Token?) -> Bool {
        switch (access, peer) {
        case (.anyone, _), (.client, .user): true
        // Without a token nobody gets in over TCP.
        case (.client, .loopback): token?.admits(authorization: authorization) ?? false
        }
    }
}
