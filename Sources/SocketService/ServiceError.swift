/// What the service answers instead of a result, each case one plain sentence.
package enum ServiceError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The message itself, before its meaning.
    case malformedRequest(String)
    case badExpectation
    case encodedBody(String)
    case foreignHost(String)
    case wrongMethod(String, allowed: [String])
    case notJSON(reason: String)
    case tooDeep(limit: Int)
    case bodyTooLarge(limit: Int)
    case unknownField(name: String, nearest: [String])
    case missingField(name: String, wanted: String)
    case badField(name: String, reason: String)
    case notOffered(field: String, what: String)
    case unknownClass(field: String, name: String, adapter: String, nearest: [String], some: [String])
    case badReference(String)
    case adapterNotFound(String)
    case digestMismatch(String)
    case unauthorised
    case noSuchCall(String)
    case noSuchJob(String)
    case jobExpired(String)
    case jobEnded(String)
    case tooManyJobs(limit: Int)
    case queueFull(retryAfter: Int)
    case clientShareFull(retryAfter: Int)
    case tooCostly(cost: Int, limit: Int)
    case tooManyTerms(Int, limit: Int, setting: String)
    case composingFull(String)
    case draining
    case deadlinePassed
    case cancelled
    /// The time to drain was over.
    case stopped
    case clientLeft
    case headTooSlow
    case bodyTooSlow
    case storeUnreadable(String)
    case notReady(String)
    case failed(String)

    package var description: String {
        switch self {
        case .malformedRequest(let reason): "The request cannot be read: \(reason)."
        case .badExpectation: "The request expects something that this server does not know; 'Expect: 100-continue' is the only expectation that it meets."
        case .encodedBody(let encoding): "The body is sent as '\(encoding)'; this server reads bodies as they are, without Content-Encoding."
        case .foreignHost(let host):
            "This server is not called '\(host)': over TCP it answers to localhost, 127.0.0.1 and [::1], and to what --allowed-hosts names."
        case .wrongMethod(let call, let allowed): "There is no call \(call); this path takes \(allowed.joined(separator: ", "))."
        case .notJSON(let reason): "The body is not a JSON object: \(reason)."
        case .tooDeep(let limit): "The body nests deeper than \(limit, "level")."
        case .bodyTooLarge(let limit): "The body is larger than \(limit, "byte")."
        case .unknownField(let name, let nearest): "There is no field '\(name)'" + suggestion(nearest)
        case .missingField(let name, let wanted): "The field '\(name)' is missing: \(wanted)."
        case .badField(let name, let reason): sentence("The field '\(name)' cannot be used: \(reason)")
        case .notOffered(let field, let what): "The field '\(field)' asks for something that this server does not offer yet: \(what)."
        case .unknownClass(_, let name, let adapter, let nearest, let some):
            "The adapter '\(adapter)' has no class '\(name)'"
                + (nearest.isEmpty ? "; it has \(some.joined(separator: ", "))." : suggestion(nearest))
        case .badReference(let reason), .adapterNotFound(let reason), .digestMismatch(let reason): reason
        case .unauthorised: "This call needs the header 'Authorization: Bearer TOKEN' with the token of the server's token file."
        case .noSuchCall(let call): "There is no call \(call)."
        case .noSuchJob(let id): "There is no job '\(id)'."
        case .jobExpired(let id): "The job '\(id)' ended some time ago and its result is no longer kept."
        case .jobEnded(let id): "The job '\(id)' has ended; there is nothing to cancel."
        case .tooManyJobs(let limit): "There \(limit == 1 ? "is" : "are") already \(limit, "unfinished job"); try again later."
        case .queueFull(let seconds): "The queue is full; try again in \(seconds) s."
        case .clientShareFull(let seconds): "This client's share of the queue is full; try again in \(seconds) s."
        case .tooCostly(let cost, let limit):
            "The request costs \(cost, "network row") (images x network calls x rows, and composing); the limit is \(limit): ask for fewer images, steps or terms."
        case .tooManyTerms(let count, let limit, let setting):
            "The recipe has \(count, setting == "merge_terms" ? "merge argument" : "term"); this server takes \(limit) (limits.\(setting) at /v1/capabilities)."
        case .composingFull(let reason): "\(reason.prefix(1).uppercased())\(reason.dropFirst()); try again in a moment."
        case .draining: "The server is shutting down and takes no new requests."
        case .deadlinePassed: "The deadline of the request passed before its images were ready."
        case .cancelled: "The request was cancelled."
        case .stopped: "The server stopped before the request was done; send it again once it runs: the same seed gives the same pictures."
        case .clientLeft: "The client closed the connection."
        case .headTooSlow: "The request took too long to arrive."
        case .bodyTooSlow: "The body took too long to arrive."
        case .storeUnreadable(let reason): "The store cannot be read: \(reason)"
        case .notReady(let reason): "The server is not ready: \(reason)"
        case .failed(let reason): "The request failed: \(reason)"
        }
    }
}

/// With a full stop, but after a question.
func sentence(_ text: String) -> String { text.hasSuffix("?") ? text : text + "." }

private func suggestion(_ names: [String]) -> String {
    names.isEmpty ? "." : "; did you mean \(names.joined(separator: ", "))?"
}
