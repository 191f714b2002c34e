import Foundation

extension Drawing {
    /// A meadow out of focus.
    fileprivate mutating func meadow() {
        canvas.background(tint(Palette.green.mixed(Palette.white, 0.35)), tint(Palette.green.mixed(Palette.forest, 0.55)))
        place(shift: 0.07, scale: 0.9...1.06, turn: 0.14)
    }
    fileprivate mutating func stalk(leaves: Int = 2) { stem(0, from: 1.35, to: 0, leaves: leaves, tint(Palette.forest)) }
}

extension SyntheticDomain {
    /// After Oxford Flowers-102: single flowers in a meadow.
    static let flowers = SyntheticDomain(
        "flowers",
        [
            Class("rose") { d in
                d.meadow()
                d.stalk()
                let red = d.tint(Palette.red)
                d.canvas.disk(0, -0.2, 0.56, red.mixed(Palette.ink, 0.25))
                d.blossom(0, -0.2, petals: 5, length: 0.5, width: 0.52, heart: 0.25, red, red, turn: d.dice.real(0, 1))
                d.canvas.arc(0, -0.2, 0.4, width: 0.09, from: -2.6, to: 1.6, red.mixed(Palette.ink, 0.45))
                d.spiral(0, -0.2, 0.24, turns: 1.5, width: 0.08, red.mixed(Palette.ink, 0.5))
            },
            Class("sunflower") { d in
                d.meadow()
                d.stalk()
                d.blossom(0, -0.2, petals: 14, length: 0.42, width: 0.2, heart: 0.36, d.tint(Palette.yellow), d.tint(Palette.brown), turn: d.dice.real(0, 1))
                d.toppings(0, -0.2, within: 0.26, count: 7, size: 0.05, Palette.ink)
            },
            Class("daisy") { d in
                d.meadow()
                d.stalk(leaves: 1)
                d.blossom(0, -0.2, petals: 11, length: 0.52, width: 0.19, heart: 0.22, Palette.white, d.tint(Palette.yellow), turn: d.dice.real(0, 1))
            },
            Class("tulip") { d in
                d.meadow()
                d.stalk()
                let petal = d.tint(d.dice.pick([Palette.red, Palette.pink, Palette.orange, Palette.purple]))
                d.canvas.halfEllipse(0, -0.35, 0.46, 0.56, upper: false, petal)
                for x in [Float(-0.3), 0.3, 0] {
                    d.canvas.polygon([Point(x - 0.17, -0.33), Point(x + 0.17, -0.33), Point(x * 1.1, -0.86)], petal.mixed(Palette.ink, x == 0 ? 0.2 : 0))
                }
            },
            Class("violet") { d in
                d.meadow()
                d.stalk(leaves: 1)
                let purple = d.tint(Palette.purple)
                d.blossom(0, -0.15, petals: 5, length: 0.5, width: 0.46, heart: 0.16, purple, d.tint(Palette.yellow), turn: -.pi / 2 + d.wobble(0.15))
                for angle in [Float(0.9), 1.57, 2.2] {
                    d.canvas.line(
                        [Point(cos(angle) * 0.18, sin(angle) * 0.18 - 0.15), Point(cos(angle) * 0.4, sin(angle) * 0.4 - 0.15)], width: 0.05, Palette.ink)
                }
            },
            Class("cornflower") { d in
                d.meadow()
                d.stalk()
                let blue = d.tint(Palette.blue)
                d.star(0, -0.22, 0.68, turn: d.dice.real(0, 1), points: 9, blue)
                d.star(0, -0.22, 0.42, turn: d.dice.real(0, 1), points: 8, blue.mixed(Palette.sky, 0.5))
                d.canvas.disk(0, -0.22, 0.15, d.tint(Palette.purple))
            },
            Class("lily-of-the-valley") { d in
                d.meadow()
                let green = d.tint(Palette.forest)
                d.canvas.ellipse(-0.42, 0.45, 0.6, 0.2, angle: -1.1, green)
                d.canvas.line([Point(-0.1, 1.3), Point(0, 0.2), Point(0.14, -0.5), Point(0.45, -0.8)], width: 0.08, green)
                for (x, y) in [(0.4, -0.55), (0.32, -0.12), (0.24, 0.34)] as [(Float, Float)] {
                    d.canvas.line([Point(0.08, y - 0.2), Point(x + 0.1, y - 0.14)], width: 0.05, green)
                    d.canvas.halfEllipse(x + 0.1, y + 0.14, 0.2, 0.3, Palette.white)
                }
            },
        ])
}
