import Foundation

/// Birds, side-on unless said; `facing` is 1 to the right, -1 to the left.
extension Drawing {
    mutating func eye(_ x: Float, _ y: Float, _ radius: Float = 0.055) {
        canvas.disk(x, y, radius * 1.5, Palette.white)
        canvas.disk(x, y, radius, Palette.ink)
    }

    mutating func beak(_ x: Float, _ y: Float, length: Float, _ facing: Float, _ colour: Colour) {
        canvas.polygon([Point(x, y - length * 0.38), Point(x + facing * length, y + length * 0.1), Point(x, y + length * 0.45)], colour)
    }

    mutating func legs(_ x: Float, from top: Float, to foot: Float, spread: Float, width: Float = 0.05, _ colour: Colour) {
        for side in [-spread, spread] {
            canvas.line([Point(x + side, top), Point(x + side, foot)], width: width, colour)
            canvas.line([Point(x + side, foot), Point(x + side + 0.1, foot)], width: width, colour)
        }
    }

    /// A perching song bird: tail, body, breast, wing, head, beak, legs.
    mutating func songbird(_ facing: Float, y: Float, _ body: Colour, _ breast: Colour, _ wing: Colour, _ bill: Colour) {
        let f = facing
        legs(0.02 * f, from: y + 0.35, to: y + 0.62, spread: 0.1, Palette.ink)
        canvas.polygon([Point(-0.4 * f, y + 0.1), Point(-0.98 * f, y + 0.34), Point(-0.9 * f, y + 0.5), Point(-0.3 * f, y + 0.32)], wing)
        canvas.ellipse(0, y + 0.1, 0.52, 0.36, angle: -0.25 * f, body)
        canvas.ellipse(0.2 * f, y + 0.2, 0.3, 0.26, angle: -0.4 * f, breast)
        canvas.disk(0.4 * f, y - 0.24, 0.29, body)
        canvas.ellipse(-0.14 * f, y + 0.08, 0.38, 0.19, angle: 0.2 * f, wing)
        beak(0.64 * f, y - 0.24, length: 0.26, f, bill)
        eye(0.46 * f, y - 0.3)
    }

    /// A floating water bird with its neck up.
    mutating func waterbird(_ facing: Float, water y: Float, neck: Float, _ body: Colour, _ head: Colour, _ wing: Colour, _ bill: Colour) {
        let f = facing
        canvas.ellipse(-0.08 * f, y - 0.14, 0.62, 0.32, body)
        canvas.polygon([Point(-0.5 * f, y - 0.26), Point(-0.92 * f, y - 0.46), Point(-0.55 * f, y - 0.02)], body)
        canvas.line([Point(0.36 * f, y - 0.2), Point(0.44 * f, y - 0.24 - neck * 0.5), Point(0.42 * f, y - 0.3 - neck)], width: 0.24, head)
        canvas.disk(0.45 * f, y - 0.34 - neck, 0.21, head)
        beak(0.62 * f, y - 0.33 - neck, length: 0.28, f, bill)
        eye(0.5 * f, y - 0.4 - neck, 0.05)
        canvas.ellipse(-0.16 * f, y - 0.2, 0.4, 0.19, angle: 0.15 * f, wing)
    }

    /// An owl from the front: round head, two large eyes, folded wings.
    mutating func owl(y: Float, _ body: Colour, _ belly: Colour) {
        canvas.polygon([Point(-0.44, y - 0.4), Point(-0.4, y - 0.86), Point(-0.1, y - 0.55)], body)
        canvas.polygon([Point(0.44, y - 0.4), Point(0.4, y - 0.86), Point(0.1, y - 0.55)], body)
        canvas.ellipse(0, y + 0.02, 0.52, 0.68, body)
        canvas.ellipse(0, y + 0.28, 0.32, 0.38, belly)
        for side in [Float(-1), 1] {
            canvas.disk(side * 0.23, y - 0.28, 0.23, Palette.white)
            canvas.disk(side * 0.23, y - 0.28, 0.17, Palette.yellow)
            canvas.disk(side * 0.23, y - 0.28, 0.09, Palette.ink)
        }
        canvas.polygon([Point(-0.09, y - 0.16), Point(0.09, y - 0.16), Point(0, y + 0.06)], Palette.orange)
    }

    /// A penguin from the front.
    mutating func penguin(y: Float, _ coat: Colour, _ belly: Colour) {
        canvas.ellipse(-0.2, y + 0.72, 0.2, 0.09, Palette.orange)
        canvas.ellipse(0.2, y + 0.72, 0.2, 0.09, Palette.orange)
        canvas.ellipse(-0.46, y + 0.1, 0.13, 0.42, angle: 0.3, coat)
        canvas.ellipse(0.46, y + 0.1, 0.13, 0.42, angle: -0.3, coat)
        canvas.ellipse(0, y + 0.14, 0.46, 0.6, coat)
        canvas.disk(0, y - 0.44, 0.33, coat)
        canvas.ellipse(0, y + 0.24, 0.3, 0.46, belly)
        eye(-0.13, y - 0.5, 0.05)
        eye(0.13, y - 0.5, 0.05)
        canvas.polygon([Point(-0.13, y - 0.38), Point(0.13, y - 0.38), Point(0, y - 0.2)], Palette.orange)
    }

    /// A wading bird on two long legs with a curved neck.
    mutating func wader(_ facing: Float, foot: Float, _ body: Colour, _ wing: Colour, _ leg: Colour) {
        let f = facing
        canvas.line([Point(-0.02 * f, foot - 0.72), Point(-0.02 * f, foot)], width: 0.06, leg)
        canvas.line([Point(0.14 * f, foot - 0.72), Point(0.2 * f, foot - 0.4), Point(0.02 * f, foot - 0.34)], width: 0.06, leg)
        canvas.ellipse(0, foot - 0.84, 0.48, 0.27, angle: 0.12 * f, body)
        canvas.ellipse(-0.18 * f, foot - 0.84, 0.34, 0.15, angle: 0.2 * f, wing)
        canvas.line([Point(0.34 * f, foot - 0.94), Point(0.56 * f, foot - 1.16), Point(0.32 * f, foot - 1.4), Point(0.42 * f, foot - 1.58)], width: 0.14, body)
        canvas.disk(0.46 * f, foot - 1.6, 0.15, body)
        canvas.polygon([Point(0.56 * f, foot - 1.68), Point(0.84 * f, foot - 1.5), Point(0.8 * f, foot - 1.38), Point(0.55 * f, foot - 1.5)], Palette.ink)
    }
}
