import Foundation
import ImageFiles

/// A point in the drawing's own space: x and y in -1...1, y downwards.
typealias Point = SIMD2<Float>

/// Where a drawing sits in the picture: turned by `angle`, scaled, then moved.
struct Pose {
    var x: Float = 0, y: Float = 0, scale: Float = 1, angle: Float = 0
}

/// A square of colour samples, four per pixel and direction, that shapes are painted on from back to front.
struct Canvas {
    private static let samplesPerPixel = 4
    private let size: Int
    private let side: Int
    private var samples: [SIMD4<Float>]
    var pose = Pose()

    init(size: Int) {
        self.size = size
        side = size * Self.samplesPerPixel
        samples = [SIMD4<Float>](repeating: .zero, count: side * side)
    }

    /// Paints every sample whose position in the drawing's space lies `inside`; `radius` bounds the shape around `centre`.
    @inline(__always)
    mutating func paint(_ colour: Colour, around centre: Point, radius: Float, inside: (Point) -> Bool) {
        let (sine, cosine) = (sin(pose.angle), cos(pose.angle))
        let half = Float(side) / 2
        let middle = Point(
            (cosine * centre.x - sine * centre.y) * pose.scale + pose.x, (sine * centre.x + cosine * centre.y) * pose.scale + pose.y)
        let reach = radius * pose.scale
        func first(_ value: Float) -> Int { max(0, Int(((value - reach + 1) * half).rounded(.down))) }
        func last(_ value: Float) -> Int { min(side - 1, Int(((value + reach + 1) * half).rounded(.up))) }
        let (left, right, top, bottom) = (first(middle.x), last(middle.x), first(middle.y), last(middle.y))
        guard left <= right, top <= bottom else { return }
        let paint = SIMD4<Float>(colour.r, colour.g, colour.b, 0)
        for row in top...bottom {
            let y = ((Float(row) + 0.5) / half - 1 - pose.y) / pose.scale
            for column in left...right {
                let x = ((Float(column) + 0.5) / half - 1 - pose.x) / pose.scale
                if inside(Point(cosine * x + sine * y, cosine * y - sine * x)) { samples[row * side + column] = paint }
            }
        }
    }

    /// The whole picture, whatever the pose: `top` to `bottom`.
    mutating func background(_ top: Colour, _ bottom: Colour) {
        for row in 0..<side {
            let colour = top.mixed(bottom, Float(row) / Float(side - 1))
            for column in 0..<side { samples[row * side + column] = SIMD4(colour.r, colour.g, colour.b, 0) }
        }
    }

    /// The picture with each pixel the mean of its samples.
    func image() -> RGBImage {
        var pixels = [UInt8]()
        pixels.reserveCapacity(size * size * 3)
        let step = Self.samplesPerPixel
        for row in 0..<size {
            for column in 0..<size {
                var sum = SIMD4<Float>.zero
                for y in 0..<step {
                    for x in 0..<step { sum += samples[(row * step + y) * side + column * step + x] }
                }
                let mean = (sum / Float(step * step)).clamped(lowerBound: .zero, upperBound: .one) * 255
                for channel in 0..<3 { pixels.append(UInt8(mean[channel].rounded())) }
            }
        }
        return RGBImage(width: size, height: size, pixels: pixels)
    }
}
