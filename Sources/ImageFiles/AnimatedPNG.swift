import Foundation

/// Animated PNG (the PNG specification, third edition): the encoder's own image data, cut into one frame after the other.
package enum AnimatedPNG {
    /// - Parameters:
    ///   - frames: of one size, at least one; the first is what a reader without animations shows.
    ///   - milliseconds: how long each is shown.
    ///   - text: text chunks, as `RGBImage.png` takes them.
    package static func data(
        _ frames: [RGBImage], milliseconds: Int, text: [(key: String, value: String)] = []
    ) throws(ImageFileError) -> Data {
        guard let first = frames.first, frames.allSatisfy({ $0.width == first.width && $0.height == first.height }) else {
            throw .encoding("an animation needs frames of one size")
        }
        var file = Data()
        var sequence: UInt32 = 0
        for (index, frame) in frames.enumerated() {
            let png = try frame.png(text: index == 0 ? text : [])
            let control = number(sequence) + number(UInt32(frame.width)) + number(UInt32(frame.height)) + number(0) + number(0)
                // Thousandths of a second; 3, 232 is 1000.
                + [UInt8(milliseconds >> 8 & 255), UInt8(milliseconds & 255), 3, 232, 0, 0]
            var isControlled = false
            for (type, content) in chunks(ofPNG: png) {
                switch type {
                case "IHDR" where index == 0:
                    // The signature stands before the first chunk.
                    file += png.prefix(8) + chunk("IHDR", content) + chunk("acTL", number(UInt32(frames.count)) + number(0))
                case "IDAT":
                    if !isControlled {
                        file += chunk("fcTL", control)
                        sequence += 1
                        isControlled = true
                    }
                    if index == 0 {
                        file += chunk("IDAT", content)
                    } else {
                        file += chunk("fdAT", number(sequence) + content)
                        sequence += 1
                    }
                case "IEND" where index == frames.count - 1: file += chunk("IEND", [])
                case _ where index == 0 && type != "IEND": file += chunk(type, content)
                default: break
                }
            }
        }
        return file
    }

    private static func chunk(_ type: String, _ content: [UInt8]) -> [UInt8] {
        let body = Array(type.utf8) + content
        return number(UInt32(content.count)) + body + number(checksum(body))
    }

    /// Big-endian.
    private static func number(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }

    /// CRC-32 as PNG has it.
    private static func checksum(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(UInt32.max) { (($0 >> 8) ^ table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)]) }
    }

    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { value, _ in value & 1 == 1 ? 0xEDB8_8320 ^ (value >> 1) : value >> 1 }
    }
}
