import Foundation

/// Reads the JSON of a safetensors header and nothing more: objects of known form, strings and whole numbers.
///
/// General JSON readers drop duplicate keys and accept numbers of any kind; here both are faults to be named.
struct HeaderScanner {
    private let bytes: [UInt8]
    private let path: String
    private var position = 0

    init(_ bytes: [UInt8], path: String) { (self.bytes, self.path) = (bytes, path) }

    func fault(_ expected: String) -> TensorFileError { .headerSyntax(path: path, at: position, expected: expected) }

    private mutating func skipBlanks() {
        while position < bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[position]) { position += 1 }
    }

    mutating func accept(_ character: Character) -> Bool {
        skipBlanks()
        guard position < bytes.count, bytes[position] == character.asciiValue else { return false }
        position += 1
        return true
    }

    /// Whether the next value is `null`, which is passed over.
    mutating func acceptNull() throws(TensorFileError) -> Bool {
        skipBlanks()
        guard position < bytes.count, bytes[position] == UInt8(ascii: "n") else { return false }
        guard bytes[position...].starts(with: Array("null".utf8)) else { throw fault("a value") }
        position += 4
        return true
    }

    mutating func expect(_ character: Character) throws(TensorFileError) {
        guard accept(character) else { throw fault("'\(character)'") }
    }

    mutating func expectEnd() throws(TensorFileError) {
        skipBlanks()
        guard position == bytes.count else { throw fault("the end of the header") }
    }

    /// Calls `member` with the key of each member, which must read its value.
    mutating func object(_ member: (String, inout HeaderScanner) throws(TensorFileError) -> Void) throws(TensorFileError) {
        try expect("{")
        if accept("}") { return }
        repeat {
            let key = try string()
            try expect(":")
            try member(key, &self)
        } while accept(",")
        try expect("}")
    }

    mutating func integers() throws(TensorFileError) -> [Int] {
        try expect("[")
        var values: [Int] = []
        if accept("]") { return values }
        repeat {
            values.append(try integer())
        } while accept(",")
        try expect("]")
        return values
    }

    private mutating func integer() throws(TensorFileError) -> Int {
        skipBlanks()
        let start = position
        var value = 0
        while position < bytes.count, (0x30...0x39).contains(bytes[position]) {
            let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tens.addingReportingOverflow(Int(bytes[position] - 0x30))
            guard !overflow, !carry else { throw fault("a number below 2^63") }
            value = sum
            position += 1
        }
        guard position > start, position - start == 1 || bytes[start] != 0x30 else { throw fault("a whole number") }
        return value
    }

    mutating func string() throws(TensorFileError) -> String {
        try expect("\"")
        var units: [UInt8] = []
        while position < bytes.count, bytes[position] != 0x22 {
            guard bytes[position] >= 0x20 else { throw fault("a string without control characters") }
            if bytes[position] == 0x5c {
                position += 1
                try escape(&units)
            } else {
                units.append(bytes[position])
                position += 1
            }
        }
        try expect("\"")
        guard let text = String(validating: units, as: UTF8.self) else { throw fault("UTF-8 text before this byte") }
        return text
    }

    private mutating func escape(_ units: inout [UInt8]) throws(TensorFileError) {
        let plain: [UInt8: UInt8] = [0x22: 0x22, 0x5c: 0x5c, 0x2f: 0x2f, 0x62: 8, 0x66: 12, 0x6e: 10, 0x72: 13, 0x74: 9]
        guard position < bytes.count else { throw fault("an escape") }
        if let unit = plain[bytes[position]] {
            units.append(unit)
            position += 1
            return
        }
        var code = try unicodeEscape()
        if (0xd800..<0xdc00).contains(code) {
            guard position < bytes.count, bytes[position] == 0x5c else { throw fault("the second half of a surrogate pair") }
            position += 1
            let low = try unicodeEscape()
            guard (0xdc00..<0xe000).contains(low) else { throw fault("the second half of a surrogate pair") }
            code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw fault("a Unicode scalar") }
        units.append(contentsOf: Array(String(Character(scalar)).utf8))
    }

    private mutating func unicodeEscape() throws(TensorFileError) -> UInt32 {
        guard position + 5 <= bytes.count, bytes[position] == 0x75 else { throw fault("an escape") }
        var code: UInt32 = 0
        for byte in bytes[(position + 1)..<(position + 5)] {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else { throw fault("four hexadecimal digits") }
            code = code << 4 | UInt32(digit)
        }
        position += 5
        return code
    }
}
