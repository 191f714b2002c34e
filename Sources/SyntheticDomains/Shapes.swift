import Foundation

/// The shapes every drawing is made of. Lengths are in the drawing's space, angles in radians, clockwise.
extension Canvas {
    mutating func disk(_ x: Float, _ y: Float, _ radius: Float, _ colour: Colour) {
        let centre = Point(x, y)
        paint(colour, around: centre, radius: radius) {
            let d = $0 - centre; return (d * d).sum() <= radius * radius
        }
    }

    mutating func ellipse(_ x: Float, _ y: Float, _ rx: Float, _ ry: Float, angle: Float = 0, _ colour: Colour) {
        let centre = Point(x, y)
        let (sine, cosine) = (sin(angle), cos(angle))
        paint(colour, around: centre, radius: max(rx, ry)) {
            let d = $0 - centre
            let (u, v) = ((cosine * d.x + sine * d.y) / rx, (cosine * d.y - sine * d.x) / ry)
            return u * u + v * v <= 1
        }
    }

    /// The part of an ellipse above (`upper`) or below its centre line.
    mutating func halfEllipse(_ x: Float, _ y: Float, _ rx: Float, _ ry: Float, upper: Bool = true, _ colour: Colour) {
        let centre = Point(x, y)
        paint(colour, around: centre, radius: max(rx, ry)) {
            let d = $0 - centre
            return (upper ? d.y <= 0 : d.y >= 0) && (d.x / rx) * (d.x / rx) + (d.y / ry) * (d.y / ry) <= 1
        }
    }

    /// A ring of the given line `width` inside `radius`, from angle `from` through `to` (0 is right, clockwise).
    mutating func arc(
        _ x: Float, _ y: Float, _ radius: Float, width: Float, from: Float = -.pi, to: Float = .pi, _ colour: Colour
    ) {
        let centre = Point(x, y)
        paint(colour, around: centre, radius: radius) {
            let d = $0 - centre
            let squared = (d * d).sum()
            guard squared <= radius * radius, squared >= (radius - width) * (radius - width) else { return false }
            let angle = atan2(d.y, d.x)
            return angle >= from && angle <= to
        }
    }

    /// A box by its centre and half extents, turned by `angle`, its corners rounded by `round`.
    mutating func box(
        _ x: Float, _ y: Float, _ halfWidth: Float, _ halfHeight: Float, angle: Float = 0, round: Float = 0, _ colour: Colour
    ) {
        let centre = Point(x, y)
        let (sine, cosine) = (sin(angle), cos(angle))
        let inner = Point(halfWidth - round, halfHeight - round)
        paint(colour, around: centre, radius: (halfWidth * halfWidth + halfHeight * halfHeight).squareRoot()) {
            let d = $0 - centre
            let local = Point(abs(cosine * d.x + sine * d.y), abs(cosine * d.y - sine * d.x))
            guard local.x <= halfWidth, local.y <= halfHeight else { return false }
            let over = Point(max(local.x - inner.x, 0), max(local.y - inner.y, 0))
            return (over * over).sum() <= round * round || over.x == 0 || over.y == 0
        }
    }

    /// A polygon by its corners, filled by the even-odd rule.
    mutating func polygon(_ corners: [Point], _ colour: Colour) {
        var (low, high) = (corners[0], corners[0])
        for corner in corners { (low, high) = (pointwiseMin(low, corner), pointwiseMax(high, corner)) }
        let extent = (high - low) / 2
        paint(colour, around: (low + high) / 2, radius: (extent * extent).sum().squareRoot()) { point in
            var isInside = false
            var previous = corners[corners.count - 1]
            for corner in corners {
                if (corner.y > point.y) != (previous.y > point.y),
                    point.x < (previous.x - corner.x) * (point.y - corner.y) / (previous.y - corner.y) + corner.x
                {
                    isInside.toggle()
                }
                previous = corner
            }
            return isInside
        }
    }

    /// A line of the given `width` with round ends through the points.
    mutating func line(_ points: [Point], width: Float, _ colour: Colour) {
        for (start, end) in zip(points, points.dropFirst()) {
            let along = end - start
            let length = max((along * along).sum(), 1e-9)
            let middle = (start + end) / 2
            paint(colour, around: middle, radius: length.squareRoot() / 2 + width / 2) {
                let d = $0 - start
                let position = min(max((d * along).sum() / length, 0), 1)
                let off = d - along * position
                return (off * off).sum() <= width * width / 4
            }
        }
    }

    /// Everything below height `y` (a floor, a sea), in the drawing's space.
    mutating func floor(_ y: Float, _ colour: Colour) {
        paint(colour, around: .zero, radius: 4) { $0.y >= y }
    }

    /// Everything below a wavy line around height `y`.
    mutating func wave(_ y: Float, height: Float, length: Float, shift: Float, _ colour: Colour) {
        paint(colour, around: .zero, radius: 4) { $0.y >= y + height * sin(2 * .pi * ($0.x / length + shift)) }
    }
}
