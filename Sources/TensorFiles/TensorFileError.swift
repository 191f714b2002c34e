import SystemIO

/// What can be wrong with a tensor file, each with the name, number or shape at fault.
///
/// Its description is one sentence. Later versions may add cases: switch over it with a `default`.
public enum TensorFileError: Error, Equatable, CustomStringConvertible {
    case unreadable(path: String, reason: SystemError)
    case unwritable(path: String, reason: SystemError)
    case tooShort(path: String, bytes: Int)
    case headerTooLong(path: String, header: UInt64, bytes: Int)
    case headerSyntax(path: String, at: Int, expected: String)
    case duplicateName(path: String, name: String)
    case unknownType(path: String, name: String, type: String)
    case badOffsets(path: String, name: String, begin: Int, end: Int, expected: Int)
    case wrongSize(path: String, name: String, shape: [Int], type: String, bytes: Int)
    case trailingBytes(path: String, described: Int, present: Int)
    case noTensor(path: String, name: String)
    case wrongType(path: String, name: String, type: String, wanted: String)
    case unknownContainer(path: String)
    case otherContainer(path: String, what: String)
    case valueless(path: String, name: String, what: String)
    case badArchive(path: String, reason: String)
    case badPickle(path: String, at: Int, reason: String)
    case noStateDictionary(path: String, found: [String])
    case outsideStorage(path: String, name: String, shape: [Int], strides: [Int], offset: Int, elements: Int)
    case repeated(path: String, name: String, shape: [Int], bytes: Int)
    case badIndex(path: String, reason: String)
    case badSparsity(path: String, name: String, reason: String)

    /// One sentence without its full stop.
    public var description: String {
        switch self {
        case .unreadable(let path, let reason): "'\(path)' cannot be read: \(reason)"
        case .unwritable(let path, let reason): "'\(path)' cannot be written: \(reason)"
        case .tooShort(let path, let bytes): "'\(path)' has \(bytes, "byte"); a safetensors file begins with eight that give the header's length"
        case .headerTooLong(let path, let header, let bytes):
            "'\(path)' announces a header of \(header, "byte"), in a file of \(bytes) (and \(SafetensorsHeader.longest) at most)"
        case .headerSyntax(let path, let at, let expected): "the header of '\(path)' is not safetensors JSON: expected \(expected) at byte \(at)"
        case .duplicateName(let path, let name): "the header of '\(path)' names '\(name)' twice"
        case .unknownType(let path, let name, let type):
            "tensor '\(name)' in '\(path)' has the unknown type '\(type)'; known are \(DType.allCases.map(\.rawValue).joined(separator: ", "))"
        case .badOffsets(let path, let name, let begin, let end, let expected) where begin == expected && end > begin:
            "tensor '\(name)' in '\(path)' lies at bytes \(begin) to \(end), and the file ends before"
        case .badOffsets(let path, let name, let begin, let end, let expected):
            "tensor '\(name)' in '\(path)' lies at bytes \(begin) to \(end); it should begin at \(expected), where the one before ends"
        case .wrongSize(let path, let name, let shape, let type, let bytes):
            "tensor '\(name)' in '\(path)' has \(bytes, "byte"), which is not what shape \(shape) of \(type) takes"
        case .trailingBytes(let path, let described, let present): "'\(path)' has \(present, "byte") of data, but its header describes \(described)"
        case .noTensor(let path, let name): "'\(path)' has no tensor '\(name)'"
        case .wrongType(let path, let name, let type, let wanted): "tensor '\(name)' in '\(path)' is \(type); \(wanted) is wanted"
        case .unknownContainer(let path): "'\(path)' is neither safetensors nor a file that torch saved"
        case .otherContainer(let path, let what): "'\(path)' is \(what)"
        case .valueless(let path, let name, let what): "tensor '\(name)' in '\(path)' has no values that can be read: it is \(what); save it as a plain tensor"
        case .badArchive(let path, let reason): "the archive '\(path)' cannot be used: \(reason)"
        case .badPickle(let path, let at, let reason): "the pickle in '\(path)' cannot be used, at byte \(at): \(reason)"
        case .noStateDictionary(let path, let found):
            "'\(path)' holds no dictionary of tensors, at its root or in a section such as 'ema', 'model' or 'state_dict'"
                + (found.isEmpty ? "" : "; it holds \(found.map { "'\($0)'" }.joined(separator: ", "))")
        case .outsideStorage(let path, let name, let shape, let strides, let offset, let elements):
            "tensor '\(name)' in '\(path)' of shape \(shape), strides \(strides) and offset \(offset) reaches beyond its storage of \(elements, "element")"
        case .repeated(let path, let name, let shape, let bytes):
            "tensor '\(name)' in '\(path)' has shape \(shape), more than a file of \(bytes, "byte") can hold: its strides repeat elements"
        case .badSparsity(let path, let name, let reason): "tensor '\(name)' of a 2:4 matrix in '\(path)' \(reason)"
        case .badIndex(let path, let reason): "the index '\(path)' cannot be used: \(reason)"
        }
    }
}

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
