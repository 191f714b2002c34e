import Foundation

/// Patterns and frames.
extension Drawing {
    /// A picture frame: `mat` covers what is outside the picture of half extent `inner`, a border lies around it.
    mutating func frame(inner: Float, border: Float, _ wood: Colour, wall: Colour) {
        let outer = inner + border
        for (x, y, w, h) in [(-3, 0, 3 - outer, 3), (3, 0, 3 - outer, 3), (0, -3, 3, 3 - outer), (0, 3, 3, 3 - outer)] as [(Float, Float, Float, Float)] {
            canvas.box(x, y, w, h, wall)
        }
        let shade = wood.mixed(Palette.ink, 0.3)
        let middle = inner + border / 2
        canvas.box(0, -middle, outer, border / 2, wood)
        canvas.box(-middle, 0, border / 2, outer, wood)
        canvas.box(0, middle, outer, border / 2, shade)
        canvas.box(middle, 0, border / 2, outer, shade)
    }

    /// Parallel bands across the whole picture.
    mutating func bands(_ count: Int, angle: Float, _ colours: [Colour]) {
        let thickness = 2.9 / Float(count)
        for index in 0..<count {
            let offset = -1.45 + thickness * (Float(index) + 0.5)
            canvas.box(-sin(angle) * offset, cos(angle) * offset, 3, thickness / 2 + 0.005, angle: angle, colours[index % colours.count])
        }
    }

    /// Rings around a point from the outside in.
    mutating func rings(_ x: Float, _ y: Float, _ radius: Float, _ colours: [Colour]) {
        for (index, colour) in colours.enumerated() {
            canvas.disk(x, y, radius * (1 - Float(index) / Float(colours.count)), colour)
        }
    }

    /// A grid of coloured cells divided by dark lines, cells of uneven size.
    mutating func mosaic(half: Float, _ colours: [Colour], _ lines: Colour) {
        let cuts = [-half, -half * dice.real(0.2, 0.5), half * dice.real(0.15, 0.5), half]
        let levels = [-half, -half * dice.real(0.2, 0.5), half * dice.real(0.15, 0.5), half]
        for row in 0..<3 {
            for column in 0..<3 {
                let (x0, x1, y0, y1) = (cuts[column], cuts[column + 1], levels[row], levels[row + 1])
                canvas.box((x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2, dice.pick(colours))
            }
        }
        for cut in cuts[1...2] { canvas.line([Point(cut, -half), Point(cut, half)], width: 0.1, lines) }
        for level in levels[1...2] { canvas.line([Point(-half, level), Point(half, level)], width: 0.1, lines) }
    }

    /// An outward spiral line.
    mutating func spiral(_ x: Float, _ y: Float, _ radius: Float, turns: Float, width: Float, _ colour: Colour) {
        let count = 60
        let direction: Float = dice.chance(0.5) ? 1 : -1
        let start = dice.real(0, 2 * .pi)
        let points = (0...count).map { index -> Point in
            let part = Float(index) / Float(count)
            let angle = start + direction * turns * 2 * .pi * part
            return Point(x + cos(angle) * radius * part, y + sin(angle) * radius * part)
        }
        canvas.line(points, width: width, colour)
    }

    /// A head with hair, eyes and a mouth, down to the shoulders.
    mutating func portrait(_ skin: Colour, _ hair: Colour, _ coat: Colour) {
        canvas.ellipse(0, -0.18, 0.47, 0.56, hair)
        canvas.ellipse(0, 0.86, 0.72, 0.46, coat)
        canvas.box(0, 0.36, 0.14, 0.22, skin.mixed(Palette.ink, 0.12))
        canvas.ellipse(0, -0.06, 0.34, 0.44, skin)
        canvas.halfEllipse(0, -0.22, 0.38, 0.34, hair)
        canvas.disk(-0.14, -0.06, 0.055, Palette.ink)
        canvas.disk(0.14, -0.06, 0.055, Palette.ink)
        canvas.line([Point(-0.1, 0.18), Point(0.1, 0.18)], width: 0.07, Palette.red)
    }

    /// A vase with a narrow neck.
    mutating func vase(_ x: Float, foot: Float, size: Float, _ colour: Colour) {
        canvas.ellipse(x, foot - size * 0.42, size * 0.4, size * 0.44, colour)
        canvas.box(x, foot - size * 0.86, size * 0.15, size * 0.2, colour)
        canvas.box(x, foot - size * 1.04, size * 0.24, size * 0.05, colour)
        canvas.box(x, foot - size * 0.02, size * 0.24, size * 0.05, colour)
        canvas.ellipse(x - size * 0.14, foot - size * 0.52, size * 0.07, size * 0.2, angle: 0.2, colour.mixed(Palette.white, 0.5))
    }
}
