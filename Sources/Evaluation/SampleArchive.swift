import Foundation
import ImageFiles

/// Images as the tools that compute FID read them: an `.npz` whose one array, `arr_0`, is uint8 of shape (n, height, width, 3).
///
/// A ZIP archive with one stored member and a fixed date: equal images give an equal file.
package enum SampleArchive {
    private static let member = Array("arr_0.npy".utf8)

    /// Whole or not at all.
    /// - Precondition: at least one image, all of one size.
    package static func write(_ images: [RGBImage], to path: String) throws {
        let (height, width) = (images[0].height, images[0].width)
        precondition(images.allSatisfy { $0.height == height && $0.width == width })
        let header = arrayHeader(shape: [images.count, height, width, 3])
        let size = header.count + images.count * height * width * 3
        // Fields of a plain ZIP archive hold 32 bits.
        guard size < 0xffff_0000 else { throw EvaluationError.tooLarge(path: path, bytes: size) }
        var array = header
        array.reserveCapacity(size)
        for image in images { array += image.pixels }

        let facts = fields([(checksum(array), 4), (size, 4), (size, 4), (member.count, 2), (0, 2)])
        // Version 2.0, no flags, stored, 1 January 1980.
        let common = fields([(20, 2), (0, 2), (0, 2), (0, 2), (0x21, 2)]) + facts
        let local = fields([(0x0403_4b50, 4)]) + common + member
        let central = fields([(0x0201_4b50, 4), (20, 2)]) + common + fields([(0, 2), (0, 2), (0, 2), (0, 4), (0, 4)]) + member
        let end = fields([(0x0605_4b50, 4), (0, 2), (0, 2), (1, 2), (1, 2), (central.count, 4), (local.count + size, 4), (0, 2)])
        try Data(local + array + central + end).writeWhole(to: path)
    }

    /// The head of a `.npy` file, version 1.0: padded so that the values begin at a multiple of 64 bytes.
    private static func arrayHeader(shape: [Int]) -> [UInt8] {
        let text = "{'descr': '|u1', 'fortran_order': False, 'shape': (\(shape.map(String.init).joined(separator: ", "))), }"
        let length = (10 + text.utf8.count + 1 + 63) / 64 * 64 - 10
        let padded = Array(text.utf8) + [UInt8](repeating: 0x20, count: length - 1 - text.utf8.count) + [0x0a]
        return [0x93] + Array("NUMPY".utf8) + [1, 0] + fields([(length, 2)]) + padded
    }

    /// Numbers, the low byte first.
    private static func fields(_ values: [(value: Int, bytes: Int)]) -> [UInt8] {
        values.flatMap { field in (0..<field.bytes).map { UInt8(truncatingIfNeeded: field.value >> (8 * $0)) } }
    }

    /// CRC-32 as ZIP has it.
    private static func checksum(_ bytes: [UInt8]) -> Int {
        let table = (0..<256).map { (index: UInt32) -> UInt32 in
            (0..<8).reduce(index) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xedb8_8320 : value >> 1 }
        }
        var rest = ~UInt32(0)
        for byte in bytes { rest = table[Int(UInt8(truncatingIfNeeded: rest) ^ byte)] ^ rest >> 8 }
        return Int(~rest)
    }
}
