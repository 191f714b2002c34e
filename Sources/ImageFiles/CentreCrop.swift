import Foundation

extension RGBImage {
    /// ADM's preparation of training images: halved by box means while the short side is at least twice `size`, then
    /// bicubic to a short side of `size`, then the middle square.
    package func centreCropped(to size: Int) -> RGBImage {
        var image = self
        while min(image.width, image.height) >= 2 * size { image = image.halved() }
        let scale = Double(size) / Double(min(image.width, image.height))
        let resized = image.resized(
            width: Int((Double(image.width) * scale).rounded(.toNearestOrEven)), height: Int((Double(image.height) * scale).rounded(.toNearestOrEven)))
        return resized.cropped(x: (resized.width - size) / 2, y: (resized.height - size) / 2, size: size)
    }

    /// Half of width and height (rounded down), each pixel the mean of the ones it covers.
    func halved() -> RGBImage { resampled(width: width / 2, height: height / 2, support: 0.5) { abs($0) <= 0.5 ? 1 : 0 } }

    /// Bicubic (a = -0.5) with the filter widened by the reduction, as Pillow has it.
    func resized(width: Int, height: Int) -> RGBImage {
        resampled(width: width, height: height, support: 2) { x in
            let x = abs(x)
            if x < 1 { return (1.5 * x - 2.5) * x * x + 1 }
            return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0
        }
    }

    private func cropped(x: Int, y: Int, size: Int) -> RGBImage {
        var result = RGBImage(width: size, height: size)
        result.draw(self, x: -x, y: -y)
        return result
    }

    /// Along rows first, then along columns, each rounded to eight bits.
    private func resampled(width: Int, height: Int, support: Double, filter: (Double) -> Double) -> RGBImage {
        let across = Self.taps(from: self.width, to: width, support: support, filter)
        let down = Self.taps(from: self.height, to: height, support: support, filter)
        var middle = RGBImage(width: width, height: self.height)
        for row in 0..<self.height {
            for column in 0..<width {
                for channel in 0..<3 {
                    middle.pixels[(row * width + column) * 3 + channel] = across[column].sum { pixels[(row * self.width + $0) * 3 + channel] }
                }
            }
        }
        var result = RGBImage(width: width, height: height)
        for row in 0..<height {
            for column in 0..<width {
                for channel in 0..<3 {
                    result.pixels[(row * width + column) * 3 + channel] = down[row].sum { middle.pixels[($0 * width + column) * 3 + channel] }
                }
            }
        }
        return result
    }

    /// Source positions and weights of one output position.
    private struct Taps {
        let first: Int
        let weights: [Double]

        func sum(_ value: (Int) -> UInt8) -> UInt8 {
            var sum = 0.0
            for (offset, weight) in weights.enumerated() { sum += weight * Double(value(first + offset)) }
            return UInt8(min(max(sum + 0.5, 0), 255))
        }
    }

    private static func taps(from old: Int, to new: Int, support: Double, _ filter: (Double) -> Double) -> [Taps] {
        let scale = Double(old) / Double(new)
        let stretch = max(scale, 1)
        return (0..<new).map { index in
            let centre = (Double(index) + 0.5) * scale
            let first = max(0, Int(centre - support * stretch + 0.5)), end = min(old, Int(centre + support * stretch + 0.5))
            let weights = (first..<max(end, first + 1)).map { filter((Double($0) - centre + 0.5) / stretch) }
            let total = weights.reduce(0, +)
            return Taps(first: first, weights: weights.map { $0 / total })
        }
    }
}
