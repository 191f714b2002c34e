extension RGBImage {
    /// Each pixel as a square of `factor` by `factor`.
    package func enlarged(by factor: Int) -> RGBImage {
        var result = RGBImage(width: width * factor, height: height * factor)
        for row in 0..<result.height {
            for column in 0..<result.width {
                let from = ((row / factor) * width + column / factor) * 3, to = (row * result.width + column) * 3
                for channel in 0..<3 { result.pixels[to + channel] = pixels[from + channel] }
            }
        }
        return result
    }

    /// Copies another image on this one, its top left corner at (x, y); what lies outside is cut off.
    package mutating func draw(_ other: RGBImage, x: Int, y: Int) {
        let columns = max(0, -x)..<max(max(0, -x), min(other.width, width - x))
        for row in max(0, -y)..<max(max(0, -y), min(other.height, height - y)) {
            for column in columns {
                let from = (row * other.width + column) * 3, to = ((y + row) * width + x + column) * 3
                for channel in 0..<3 { pixels[to + channel] = other.pixels[from + channel] }
            }
        }
    }
}

extension RGBImage {
    /// A square picture from (3 S S) in -1...1, clamped.
    /// - Parameter halvesUp: whether a value halfway between two bytes becomes the larger one rather than the even one.
    package init(_ values: [Float], side: Int, halvesUp: Bool) {
        self.init(width: side, height: side)
        let plane = side * side, rule: FloatingPointRoundingRule = halvesUp ? .toNearestOrAwayFromZero : .toNearestOrEven
        for index in 0..<plane {
            for channel in 0..<3 {
                let value = (values[channel * plane + index] + 1) * 127.5
                // What is not a number becomes 0 too.
                pixels[index * 3 + channel] = value > 0 ? UInt8(min(value, 255).rounded(rule)) : 0
            }
        }
    }
}

/// Images in rows with a thin gap.
package func contactSheet(_ images: [RGBImage], columns: Int, gap: Int = 2) -> RGBImage {
    let cell = (images.first?.width ?? 0) + gap
    let rows = (images.count + columns - 1) / columns
    var sheet = RGBImage(width: columns * cell - gap, height: rows * cell - gap, filledWith: (24, 24, 28))
    for (index, image) in images.enumerated() { sheet.draw(image, x: index % columns * cell, y: index / columns * cell) }
    return sheet
}
