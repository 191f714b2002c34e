/// Why JSON could not be decoded, in words.
package func plainReason(_ error: any Error) -> String {
    func name(_ path: [any CodingKey], _ last: String = "") -> String { (path.map(\.stringValue) + (last.isEmpty ? [] : [last])).joined(separator: ".") }
    switch error as? DecodingError {
    case .keyNotFound(let key, let context): return "'\(name(context.codingPath, key.stringValue))' is missing"
    case .valueNotFound(_, let context) where context.codingPath.isEmpty, .typeMismatch(_, let context) where context.codingPath.isEmpty:
        return "it is no JSON object"
    case .valueNotFound(_, let context), .typeMismatch(_, let context): return "'\(name(context.codingPath))' is not of the kind it should be"
    case .dataCorrupted(let context) where !context.codingPath.isEmpty: return "'\(name(context.codingPath))' has a value that is not known here"
    default: return "it is no JSON"
    }
}
