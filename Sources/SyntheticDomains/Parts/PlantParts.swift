import Foundation

/// Plants: petals, leaves, stems, trees, mushrooms.
extension Drawing {
    /// `count` petals around a point, each an ellipse that starts near the centre, and the centre on top.
    mutating func blossom(
        _ x: Float, _ y: Float, petals count: Int, length: Float, width: Float, heart: Float, _ petal: Colour, _ centre: Colour,
        turn: Float = 0
    ) {
        let edge = petal.mixed(Palette.ink, 0.12)
        for index in 0..<count {
            let angle = turn + 2 * .pi * Float(index) / Float(count)
            let reach = heart * 0.7 + length / 2
            canvas.ellipse(
                x + cos(angle) * reach, y + sin(angle) * reach, length / 2, width / 2, angle: angle,
                index.isMultiple(of: 2) ? petal : petal.mixed(edge, 0.5))
        }
        canvas.disk(x, y, heart, centre)
    }

    /// A stem from the ground up to a point, with `leaves` along it on alternate sides.
    mutating func stem(_ x: Float, from bottom: Float, to top: Float, width: Float = 0.09, leaves: Int, _ colour: Colour) {
        canvas.line([Point(x, bottom), Point(x, top)], width: width, colour)
        for index in 0..<leaves {
            let side: Float = index.isMultiple(of: 2) ? 1 : -1
            let y = bottom + (top - bottom) * (Float(index) + 1.2) / (Float(leaves) + 1.6)
            canvas.ellipse(x + side * 0.22, y - 0.08, 0.24, 0.1, angle: -side * 0.6, colour)
        }
    }

    /// A round-crowned tree standing at (x, foot).
    mutating func leafTree(_ x: Float, foot: Float, height: Float, _ crown: Colour, _ trunk: Colour) {
        canvas.box(x, foot - height * 0.2, height * 0.07, height * 0.22, trunk)
        canvas.disk(x, foot - height * 0.66, height * 0.33, crown)
        canvas.disk(x - height * 0.2, foot - height * 0.52, height * 0.2, crown)
        canvas.disk(x + height * 0.2, foot - height * 0.52, height * 0.2, crown)
    }

    /// A conifer of three stacked triangles standing at (x, foot).
    mutating func conifer(_ x: Float, foot: Float, height: Float, _ needles: Colour, _ trunk: Colour) {
        canvas.box(x, foot - height * 0.08, height * 0.05, height * 0.09, trunk)
        for tier in 0..<3 {
            let base = foot - height * (0.12 + 0.24 * Float(tier))
            let half = height * (0.3 - 0.065 * Float(tier))
            canvas.polygon([Point(x - half, base), Point(x + half, base), Point(x, base - height * 0.42)], needles)
        }
    }

    /// A palm standing at (x, foot), its trunk leaning by `lean`.
    mutating func palm(_ x: Float, foot: Float, height: Float, lean: Float, _ fronds: Colour, _ trunk: Colour) {
        let top = Point(x + lean, foot - height)
        canvas.line([Point(x, foot), Point(x + lean * 0.35, foot - height * 0.5), top], width: height * 0.09, trunk)
        for angle in [Float(-2.75), -2.1, -1.0, -0.4, 0.35, 2.8] {
            let reach = height * 0.27
            canvas.ellipse(top.x + cos(angle) * reach, top.y + sin(angle) * reach, reach, height * 0.08, angle: angle, fronds)
        }
    }

    /// A capped stalk: stalk from `foot` up to the cap's rim at y, cap a half ellipse.
    mutating func mushroom(
        _ x: Float, foot: Float, rim y: Float, cap rx: Float, height ry: Float, stalk: Float, _ cap: Colour, _ stem: Colour
    ) {
        canvas.polygon(
            [Point(x - stalk * 0.8, y), Point(x + stalk * 0.8, y), Point(x + stalk * 1.15, foot), Point(x - stalk * 1.15, foot)], stem)
        canvas.ellipse(x, foot, stalk * 1.15, stalk * 0.45, stem)
        canvas.ellipse(x, y, rx, ry * 0.2, cap.mixed(Palette.ink, 0.35))
        canvas.halfEllipse(x, y, rx, ry, cap)
    }

    /// Round spots on a cap of half width rx and height ry with its rim at y.
    mutating func spots(_ x: Float, rim y: Float, cap rx: Float, height ry: Float, _ colour: Colour) {
        let shift = wobble(0.06)
        for (u, v, radius) in [(-0.55, 0.3, 0.13), (0.0, 0.66, 0.15), (0.5, 0.36, 0.14), (-0.08, 0.22, 0.1), (0.78, 0.14, 0.08)]
            as [(Float, Float, Float)]
        {
            canvas.disk(x + (u + shift) * rx, y - v * ry, radius * max(rx, ry), colour)
        }
    }
}
