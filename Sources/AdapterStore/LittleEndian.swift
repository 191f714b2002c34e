/// Little-endian numbers in bytes that came from a file; the caller has checked the length.
extension Array where Element == UInt8 {
    func number<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type, at offset: Int) -> T {
        var value: T = 0
        for i in (0..<MemoryLayout<T>.size).reversed() { value = value << 8 | T(self[offset + i]) }
        return value
    }

    mutating func append(number: some FixedWidthInteger) {
        for i in 0..<(number.bitWidth / 8) { append(UInt8(truncatingIfNeeded: number >> (8 * i))) }
    }
}
