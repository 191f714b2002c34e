import Foundation
import SamplingEngine

/// What is wrong with a text that should be JSON (RFC 8259), found before a decoder sees it: decoders forgive, and each forgives something else.
///
/// Goes through the bytes once and without recursion; a byte-order mark of UTF-8 is passed over.
struct StrictJSON {
    enum Fault: Error, Equatable {
        case tooDeep
        /// In words that end "The body is not a JSON object: ...".
        case wrong(String)
    }

    /// What the innermost open bracket waits for.
    private enum Expected { case valueOrEnd, value, keyOrEnd, key, colon, commaOrEnd }

    private let bytes: [UInt8]
    private let limit: Int
    private var at = 0
    /// The keys of each open object, nil for an array, innermost last.
    private var open: [Set<String>?] = []

    /// - Parameter limit: the deepest nesting.
    static func check(_ bytes: [UInt8], limit: Int) throws(Fault) {
        var check = StrictJSON(bytes: bytes, limit: limit)
        try check.run()
    }

    private init(bytes: [UInt8], limit: Int) { (self.bytes, self.limit) = (bytes, limit) }

    private mutating func run() throws(Fault) {
        if bytes.starts(with: [0xef, 0xbb, 0xbf]) { at = 3 }
        if bytes.starts(with: [0xff, 0xfe]) || bytes.starts(with: [0xfe, 0xff]) || bytes.prefix(4).contains(0) {
            throw .wrong("it is UTF-16 or UTF-32; JSON is sent as UTF-8")
        }
        skipBlanks()
        guard at < bytes.count else { throw .wrong("it is empty") }
        var expected = try value()
        while let next = expected {
            skipBlanks()
            expected = try take(next)
        }
        skipBlanks()
        guard at == bytes.count else { throw wrong("something follows its end") }
    }

    /// - Returns: what comes next, nil once the whole value has ended.
    private mutating func take(_ expected: Expected) throws(Fault) -> Expected? {
        guard at < bytes.count else { throw .wrong("it ends early: \(open.count, "bracket") \(open.count == 1 ? "is" : "are") not closed") }
        let byte = bytes[at]
        switch expected {
        case .valueOrEnd where byte == UInt8(ascii: "]"), .keyOrEnd where byte == UInt8(ascii: "}"): return close()
        case .valueOrEnd, .value: return try value()
        case .keyOrEnd, .key:
            if byte == UInt8(ascii: "}") { throw wrong("a comma stands before the closing brace") }
            guard byte == UInt8(ascii: "\"") else { throw wrong("a key in double quotes is expected") }
            let key = try string()
            guard open[open.count - 1]?.insert(key).inserted == true else { throw .wrong("the key '\(key.prefix(64))' is there twice") }
            return .colon
        case .colon:
            guard byte == UInt8(ascii: ":") else { throw wrong("a colon is expected") }
            at += 1
            return .value
        case .commaOrEnd:
            let isObject = open[open.count - 1] != nil
            if byte == UInt8(ascii: isObject ? "}" : "]") { return close() }
            guard byte == UInt8(ascii: ",") else { throw wrong("a comma or a closing bracket is expected") }
            at += 1
            return isObject ? .key : .value
        }
    }

    private mutating func close() -> Expected? {
        at += 1
        open.removeLast()
        return open.isEmpty ? nil : .commaOrEnd
    }

    private mutating func value() throws(Fault) -> Expected? {
        switch bytes[at] {
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            guard open.count < limit else { throw .tooDeep }
            let isObject = bytes[at] == UInt8(ascii: "{")
            open.append(isObject ? [] : nil)
            at += 1
            return isObject ? .keyOrEnd : .valueOrEnd
        case UInt8(ascii: "\""): _ = try string()
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try number()
        case UInt8(ascii: "]"): throw wrong("a comma stands before the closing bracket")
        default: try word()
        }
        return open.isEmpty ? nil : .commaOrEnd
    }

    private mutating func word() throws(Fault) {
        let letters = bytes[at...].prefix { (0x41...0x5a).contains($0 & 0xdf) || $0 == 0x5f }
        let text = String(decoding: letters.prefix(32), as: UTF8.self)
        guard ["true", "false", "null"].contains(text) else {
            throw wrong(text.isEmpty ? "a value is expected" : "'\(text)' is no JSON value")
        }
        at += letters.count
    }

    /// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`, and not beyond what a double holds.
    private mutating func number() throws(Fault) {
        let start = at
        if bytes[at] == UInt8(ascii: "-") { at += 1 }
        let whole = digits()
        var isGood = whole == 1 || (whole > 1 && bytes[at - whole] != UInt8(ascii: "0"))
        if at < bytes.count, bytes[at] == UInt8(ascii: ".") {
            at += 1
            isGood = digits() > 0 && isGood
        }
        if at < bytes.count, bytes[at] | 0x20 == UInt8(ascii: "e") {
            at += 1
            if at < bytes.count, [UInt8(ascii: "+"), UInt8(ascii: "-")].contains(bytes[at]) { at += 1 }
            isGood = digits() > 0 && isGood
        }
        let text = String(decoding: bytes[start..<at], as: UTF8.self)
        guard isGood else {
            at = start
            throw wrong("'\(text.prefix(32))' is no JSON number")
        }
        guard let value = Double(text), value.isFinite else { throw .wrong("the number \(text.prefix(32)) is too large") }
    }

    private mutating func digits() -> Int {
        let count = bytes[at...].prefix { (0x30...0x39).contains($0) }.count
        at += count
        return count
    }

    /// The text of a string, its escapes undone.
    private mutating func string() throws(Fault) -> String {
        at += 1
        var text: [UInt8] = []
        while at < bytes.count {
            let byte = bytes[at]
            at += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let valid = String(validating: text, as: UTF8.self) else { throw wrong("a string is not UTF-8") }
                return valid
            case UInt8(ascii: "\\"): text += Array(try escape().utf8)
            case 0..<0x20: throw wrong("a string holds a control character that is not escaped")
            default: text.append(byte)
            }
        }
        throw .wrong("a string does not end")
    }

    private mutating func escape() throws(Fault) -> String {
        guard at < bytes.count else { throw .wrong("a string does not end") }
        let byte = bytes[at]
        at += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return String(UnicodeScalar(byte))
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            var units = [try unit()]
            if UTF16.isLeadSurrogate(units[0]), bytes[at...].starts(with: [0x5c, 0x75]) {
                at += 2
                units.append(try unit())
            }
            guard let text = String(validating: units, as: UTF16.self) else { throw wrong("half of a surrogate pair stands alone") }
            return text
        default: throw wrong("a backslash stands before a character that it cannot escape")
        }
    }

    private mutating func unit() throws(Fault) -> UInt16 {
        let digits = bytes[at...].prefix(4)
        guard digits.count == 4, digits.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0 | 0x20) }),
            let unit = UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw wrong("\\u is not followed by four hexadecimal digits") }
        at += 4
        return unit
    }

    private mutating func skipBlanks() {
        while at < bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[at]) { at += 1 }
    }

    private func wrong(_ what: String) -> Fault { .wrong("\(what), at byte \(at)") }
}

extension GenerationRequest {
    /// Reads a body: its form first, then types, then names; nothing is skipped silently.
    package init(body bytes: [UInt8], limits: RequestLimits) throws(ServiceError) {
        guard bytes.count <= limits.bodyBytes else { throw .bodyTooLarge(limit: limits.bodyBytes) }
        do {
            try StrictJSON.check(bytes, limit: limits.jsonDepth)
        } catch {
            switch error {
            case .tooDeep: throw .tooDeep(limit: limits.jsonDepth)
            case .wrong(let reason): throw .notJSON(reason: reason)
            }
        }
        do {
            self = try JSONDecoder().decode(Self.self, from: Data(bytes.starts(with: [0xef, 0xbb, 0xbf]) ? bytes.dropFirst(3) : bytes[...]))
        } catch FormError.unknownField(let name, let nearest) {
            throw .unknownField(name: name, nearest: nearest)
        } catch FormError.badField(let name, let reason) {
            throw .badField(name: name, reason: reason)
        } catch {
            throw .notJSON(reason: "it is a value of another kind")
        }
    }
}
