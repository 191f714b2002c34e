import Foundation
import HTTPTypes
import Hummingbird

extension ServiceError {
    /// The one table of HTTP statuses, and of the words that OpenAI's clients know: type, offending field, code.
    package var reply: (status: HTTPResponse.Status, type: String, param: String?, code: String) {
        let invalid = "invalid_request_error"
        let busy = "rate_limit_error"
        let server = "server_error"
        return switch self {
        case .malformedRequest: (.badRequest, invalid, nil, "malformed_request")
        case .badExpectation: (.expectationFailed, invalid, nil, "bad_expectation")
        case .encodedBody: (.unsupportedMediaType, invalid, nil, "unsupported_encoding")
        case .foreignHost: (.misdirectedRequest, invalid, nil, "foreign_host")
        case .wrongMethod: (.methodNotAllowed, invalid, nil, "method_not_allowed")
        case .notJSON: (.badRequest, invalid, nil, "invalid_json")
        case .tooDeep: (.badRequest, invalid, nil, "too_deep")
        case .bodyTooLarge: (.contentTooLarge, invalid, nil, "body_too_large")
        case .unknownField(let name, _): (.badRequest, invalid, name, "unknown_field")
        case .missingField(let name, _): (.badRequest, invalid, name, "missing_field")
        case .badField(let name, _): (.badRequest, invalid, name, "invalid_value")
        case .notOffered(let field, _): (.badRequest, invalid, field, "not_offered")
        case .unknownClass(let field, _, _, _, _): (.badRequest, invalid, field, "class_not_found")
        case .badReference: (.badRequest, invalid, "model", "bad_reference")
        case .adapterNotFound: (.notFound, invalid, "model", "adapter_not_found")
        case .digestMismatch: (.conflict, invalid, "model", "digest_mismatch")
        case .unauthorised: (.unauthorized, "authentication_error", nil, "unauthorized")
        case .noSuchCall: (.notFound, invalid, nil, "no_such_call")
        case .noSuchJob: (.notFound, invalid, nil, "job_not_found")
        case .jobExpired: (.gone, invalid, nil, "job_expired")
        case .jobEnded: (.conflict, invalid, nil, "job_ended")
        case .tooManyJobs: (.tooManyRequests, busy, nil, "too_many_jobs")
        case .queueFull: (.tooManyRequests, busy, nil, "queue_full")
        case .clientShareFull: (.tooManyRequests, busy, nil, "client_share_full")
        case .tooCostly: (.contentTooLarge, invalid, nil, "too_costly")
        case .tooManyTerms(_, _, let setting): (.badRequest, invalid, "model", "too_many_\(setting)")
        case .composingFull: (.tooManyRequests, busy, nil, "composing_full")
        case .draining: (.serviceUnavailable, server, nil, "draining")
        case .deadlinePassed: (.gatewayTimeout, server, "deadline_ms", "deadline_passed")
        case .cancelled: (.conflict, invalid, nil, "cancelled")
        case .stopped: (.serviceUnavailable, server, nil, "stopped")
        // nginx's status for a client that left; it is seen in the log and by nobody else.
        case .clientLeft: (.init(code: 499, reasonPhrase: "Client Closed Request"), invalid, nil, "client_left")
        case .headTooSlow: (.requestTimeout, invalid, nil, "request_too_slow")
        case .bodyTooSlow: (.requestTimeout, invalid, nil, "body_too_slow")
        case .storeUnreadable: (.serviceUnavailable, server, nil, "store_unreadable")
        case .notReady: (.serviceUnavailable, server, nil, "not_ready")
        case .failed: (.internalServerError, server, nil, "failed")
        }
    }

    /// Seconds after which the same request may be taken.
    package var retryAfter: Int? {
        switch self {
        case .queueFull(let seconds), .clientShareFull(let seconds): seconds
        case .composingFull, .tooManyJobs, .draining, .stopped, .storeUnreadable, .notReady: 1
        default: nil
        }
    }
}

/// OpenAI's error envelope.
struct ErrorReply: Encodable, Sendable {
    struct Content: Encodable {
        let message: String
        let type: String
        let param: String?
        let code: String

        /// Every key is there, as OpenAI's clients expect; an absent field is null.
        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(message, forKey: .message)
            try container.encode(type, forKey: .type)
            try container.encode(param, forKey: .param)
            try container.encode(code, forKey: .code)
        }

        enum CodingKeys: CodingKey { case message, type, param, code }
    }

    let error: Content

    init(_ error: ServiceError) {
        let (_, type, param, code) = error.reply
        self.error = Content(message: error.description, type: type, param: param, code: code)
    }
}

extension Response {
    /// The envelope with its status.
    init(_ error: ServiceError) {
        self.init(json: ErrorReply(error), status: error.reply.status)
        if let seconds = error.retryAfter { headers[.retryAfter] = "\(seconds)" }
        if case .wrongMethod(_, let allowed) = error { headers[.allow] = allowed.joined(separator: ", ") }
        if error == .unauthorised { headers[.wwwAuthenticate] = "Bearer" }
        // What is left of a body that was refused is not read.
        if [.contentTooLarge, .requestTimeout].contains(error.reply.status) { headers[.connection] = "close" }
    }
}
