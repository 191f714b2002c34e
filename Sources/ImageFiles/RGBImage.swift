/// A picture in memory: eight bits per channel, RGB interleaved, rows from the top, no padding.
package struct RGBImage: Sendable, Equatable {
    package let width: Int
    package let height: Int
    /// `height * width * 3` bytes.
    package var pixels: [UInt8]

    /// - Precondition: `pixels` holds exactly `width * height * 3` bytes.
    package init(width: Int, height: Int, pixels: [UInt8]) {
        precondition(pixels.count == width * height * 3, "\(pixels.count) bytes for an image of \(width)x\(height)")
        (self.width, self.height, self.pixels) = (width, height, pixels)
    }

    /// An image of one colour.
    package init(width: Int, height: Int, filledWith colour: (UInt8, UInt8, UInt8) = (0, 0, 0)) {
        var pixels = [UInt8](repeating: 0, count: width * height * 3)
        for index in stride(from: 0, to: pixels.count, by: 3) {
            (pixels[index], pixels[index + 1], pixels[index + 2]) = colour
        }
        self.init(width: width, height: height, pixels: pixels)
    }
}
