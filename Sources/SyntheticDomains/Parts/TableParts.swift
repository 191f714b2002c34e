import Foundation

/// Things on tables: plates, vessels, cones, layers, and furniture.
extension Drawing {
    mutating func plate(_ x: Float, _ y: Float, _ radius: Float, _ colour: Colour) {
        canvas.disk(x, y + 0.04, radius, colour.mixed(Palette.ink, 0.35))
        canvas.disk(x, y, radius, colour)
        canvas.arc(x, y, radius * 0.84, width: radius * 0.05, colour.mixed(Palette.ink, 0.16))
    }

    /// Small disks scattered inside a radius, no two near each other.
    mutating func toppings(_ x: Float, _ y: Float, within radius: Float, count: Int, size: Float, _ colour: Colour) {
        let turn = dice.real(0, 2 * .pi)
        for index in 0..<count {
            let angle = turn + 2.4 * Float(index)
            let reach = radius * (0.25 + 0.7 * Float(index) / Float(max(count - 1, 1)))
            canvas.disk(x + cos(angle) * reach, y + sin(angle) * reach, size, colour)
        }
    }

    /// Layers one on another from `bottom` upwards: half width and thickness of each.
    mutating func stack(_ x: Float, bottom: Float, _ layers: [(halfWidth: Float, height: Float, colour: Colour)]) {
        var y = bottom
        for layer in layers {
            canvas.box(x, y - layer.height / 2, layer.halfWidth, layer.height / 2, round: layer.height * 0.35, layer.colour)
            y -= layer.height
        }
    }

    /// A cone with its tip at (x, tip), open at `y`.
    mutating func cone(_ x: Float, open y: Float, tip: Float, _ half: Float, _ colour: Colour) {
        canvas.polygon([Point(x - half, y), Point(x + half, y), Point(x, tip)], colour)
        let lines = colour.mixed(Palette.ink, 0.3)
        canvas.line([Point(x - half * 0.5, y), Point(x + half * 0.25, y + (tip - y) * 0.7)], width: 0.04, lines)
        canvas.line([Point(x + half * 0.5, y), Point(x - half * 0.25, y + (tip - y) * 0.7)], width: 0.04, lines)
    }

    /// A mug with a ring handle on one side.
    mutating func vessel(_ x: Float, _ y: Float, _ halfWidth: Float, _ halfHeight: Float, handle side: Float, _ colour: Colour, _ inside: Colour) {
        canvas.arc(x + side * halfWidth, y, halfHeight * 0.62, width: halfHeight * 0.24, colour.mixed(Palette.ink, 0.12))
        canvas.box(x, y, halfWidth, halfHeight, round: halfHeight * 0.22, colour)
        canvas.ellipse(x, y - halfHeight * 0.9, halfWidth, halfHeight * 0.2, colour.mixed(Palette.white, 0.35))
        canvas.ellipse(x, y - halfHeight * 0.9, halfWidth * 0.82, halfHeight * 0.13, inside)
    }

    /// A chair seen from the side: back, seat, two legs.
    mutating func chair(_ x: Float, foot: Float, size: Float, facing: Float, _ colour: Colour, _ seat: Colour) {
        let w = size * 0.09
        canvas.line([Point(x - facing * size * 0.36, foot - size * 1.45), Point(x - facing * size * 0.36, foot)], width: w * 1.3, colour)
        canvas.line([Point(x + facing * size * 0.36, foot - size * 0.62), Point(x + facing * size * 0.36, foot)], width: w * 1.3, colour)
        canvas.box(x, foot - size * 0.64, size * 0.44, size * 0.1, round: 0.04, seat)
        canvas.box(x - facing * size * 0.36, foot - size * 1.18, size * 0.09, size * 0.32, round: 0.04, seat)
    }

    /// A disc with a rim and two hands.
    mutating func clock(_ x: Float, _ y: Float, _ radius: Float, _ rim: Colour, _ face: Colour, _ hands: Colour) {
        canvas.disk(x, y, radius, rim)
        canvas.disk(x, y, radius * 0.8, face)
        for quarter in 0..<4 {
            let angle = Float(quarter) * .pi / 2
            canvas.disk(x + cos(angle) * radius * 0.66, y + sin(angle) * radius * 0.66, radius * 0.075, hands)
        }
        let hour = dice.real(-.pi, .pi), minute = dice.pick([-Float.pi / 2, 0, .pi / 2, .pi])
        canvas.line([Point(x, y), Point(x + cos(hour) * radius * 0.42, y + sin(hour) * radius * 0.42)], width: radius * 0.15, hands)
        canvas.line([Point(x, y), Point(x + cos(minute) * radius * 0.62, y + sin(minute) * radius * 0.62)], width: radius * 0.11, hands)
    }
}
