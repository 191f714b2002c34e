extension Drawing {
    /// Food lies on a wooden table with a lighter cloth.
    fileprivate mutating func table() {
        horizon(dice.real(-0.5, -0.3), Palette.cream, Palette.brown.mixed(Palette.orange, 0.25))
        place(shift: 0.06, scale: 0.9...1.05, turn: 0.08)
    }
}

extension SyntheticDomain {
    /// After Food-101: dishes on a wooden table.
    static let food = SyntheticDomain(
        "food",
        [
            Class("pizza") { d in
                d.table()
                d.plate(0, 0.1, 0.88, Palette.white)
                d.canvas.disk(0, 0.1, 0.72, d.tint(Palette.orange.mixed(Palette.brown, 0.35)))
                d.canvas.disk(0, 0.1, 0.6, d.tint(Palette.yellow))
                d.toppings(0, 0.1, within: 0.46, count: d.dice.integer(6...8), size: 0.13, d.tint(Palette.red))
                d.toppings(0, 0.1, within: 0.4, count: 4, size: 0.06, d.tint(Palette.green))
            },
            Class("burger") { d in
                d.table()
                let bun = d.tint(Palette.orange.mixed(Palette.brown, 0.25))
                d.canvas.ellipse(0, 0.66, 0.9, 0.16, Palette.white)
                d.stack(
                    0, bottom: 0.68,
                    [
                        (0.66, 0.28, bun), (0.72, 0.22, d.tint(Palette.brown)), (0.74, 0.1, d.tint(Palette.yellow)), (0.78, 0.12, d.tint(Palette.green)),
                        (0.68, 0.1, d.tint(Palette.red)),
                    ])
                d.canvas.halfEllipse(0, -0.12, 0.7, 0.56, bun)
                for (x, y) in [(-0.3, -0.4), (0.02, -0.52), (0.32, -0.38), (-0.05, -0.28)] as [(Float, Float)] { d.canvas.disk(x, y, 0.05, Palette.cream) }
            },
            Class("ice-cream") { d in
                d.table()
                d.cone(0, open: 0.1, tip: 0.98, 0.4, d.tint(Palette.orange))
                let scoops = [Palette.pink, Palette.cream, Palette.brown, Palette.green, Palette.white]
                d.canvas.disk(-0.22, -0.12, 0.36, d.tint(d.dice.pick(scoops)))
                d.canvas.disk(0.22, -0.12, 0.36, d.tint(d.dice.pick(scoops)))
                d.canvas.disk(0, -0.5, 0.36, d.tint(Palette.pink))
                d.canvas.disk(0.02, -0.86, 0.12, d.tint(Palette.red))
            },
            Class("donut") { d in
                d.table()
                d.plate(0, 0.1, 0.9, Palette.white)
                d.canvas.arc(0, 0.1, 0.72, width: 0.48, d.tint(Palette.orange.mixed(Palette.brown, 0.35)))
                d.canvas.arc(0, 0.08, 0.65, width: 0.36, d.tint(d.dice.pick([Palette.pink, Palette.pink, Palette.brown])))
                d.toppings(0, 0.1, within: 0.55, count: 9, size: 0.05, Palette.yellow)
                d.canvas.disk(0, 0.1, 0.2, Palette.white)
            },
            Class("sushi") { d in
                d.table()
                d.canvas.box(0, 0.55, 0.94, 0.2, round: 0.05, d.tint(Palette.ink))
                for x in [Float(-0.46), 0.46] {
                    d.canvas.box(x, 0.22, 0.36, 0.24, round: 0.14, Palette.white)
                    d.canvas.box(x, -0.02, 0.42, 0.16, round: 0.14, d.tint(d.dice.chance(0.7) ? Palette.orange : Palette.red))
                    d.canvas.box(x, 0.08, 0.1, 0.3, d.tint(Palette.ink))
                }
            },
            Class("fried-egg") { d in
                d.table()
                d.canvas.disk(0, 0.1, 0.86, d.tint(Palette.ink))
                d.canvas.box(0.92, -0.6, 0.36, 0.09, angle: -0.7, d.tint(Palette.ink))
                d.canvas.disk(-0.12, 0.04, 0.5, Palette.white)
                d.canvas.disk(0.18, 0.2, 0.46, Palette.white)
                d.canvas.disk(d.wobble(0.12), 0.1 + d.wobble(0.1), 0.26, d.tint(Palette.yellow))
            },
            Class("cupcake") { d in
                d.table()
                let paper = d.tint(d.dice.pick([Palette.blue, Palette.purple, Palette.red]))
                d.canvas.polygon([Point(-0.55, 0.1), Point(0.55, 0.1), Point(0.38, 0.86), Point(-0.38, 0.86)], paper)
                for x in [Float(-0.28), 0, 0.28] { d.canvas.line([Point(x, 0.14), Point(x * 0.7, 0.82)], width: 0.06, paper.mixed(Palette.white, 0.5)) }
                let icing = d.tint(d.dice.pick([Palette.pink, Palette.white, Palette.cream]))
                d.canvas.ellipse(0, 0.04, 0.66, 0.24, icing)
                d.canvas.ellipse(0, -0.22, 0.5, 0.24, icing.mixed(Palette.ink, 0.08))
                d.canvas.ellipse(0, -0.46, 0.32, 0.22, icing)
                d.canvas.disk(0, -0.7, 0.14, d.tint(Palette.red))
            },
        ])
}
