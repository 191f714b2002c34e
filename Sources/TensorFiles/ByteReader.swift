import Foundation

/// Reads a mapped file forwards between two positions; what would reach beyond is `nil`.
struct ByteReader {
    let file: MappedFile
    private(set) var position: Int
    let end: Int

    /// The range must lie within the file.
    init(_ file: MappedFile, _ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= file.count)
        (self.file, position, end) = (file, range.lowerBound, range.upperBound)
    }

    mutating func number<Number: FixedWidthInteger & BitwiseCopyable>(_ type: Number.Type) -> Number? {
        guard let range = take(MemoryLayout<Number>.size) else { return nil }
        return file.number(type, at: range.lowerBound)
    }

    /// The range of the next `count` bytes, which are passed over.
    mutating func take(_ count: Int) -> Range<Int>? {
        guard count >= 0, count <= end - position else { return nil }
        position += count
        return (position - count)..<position
    }

    /// The bytes before the next line feed, which is passed over too.
    mutating func line(limit: Int) -> [UInt8]? {
        var bytes: [UInt8] = []
        while bytes.count <= limit, let byte = number(UInt8.self) {
            if byte == 0x0a { return bytes }
            bytes.append(byte)
        }
        return nil
    }
}

extension Data {
    /// The bytes without the mark that editors put before UTF-8 text.
    package var withoutByteOrderMark: Data { starts(with: [0xef, 0xbb, 0xbf]) ? Data(dropFirst(3)) : self }
}
