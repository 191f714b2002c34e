extension Drawing {
    /// The floor of a wood: dark green above, brown leaves below.
    fileprivate mutating func woodland() {
        horizon(dice.real(0.45, 0.55), Palette.forest.mixed(Palette.ink, 0.15), Palette.brown)
        for _ in 0..<3 { canvas.ellipse(wobble(0.95), dice.real(0.72, 0.95), 0.16, 0.06, angle: wobble(0.6), tint(Palette.orange.mixed(Palette.brown, 0.5))) }
        place(shift: 0.07, scale: 0.88...1.04, turn: 0.08)
    }
}

extension SyntheticDomain {
    /// After DF20M: mushrooms on the floor of a wood.
    static let fungi = SyntheticDomain(
        "fungi",
        [
            Class("fly-agaric") { d in
                d.woodland()
                d.mushroom(0, foot: 0.82, rim: -0.05, cap: 0.72, height: 0.66, stalk: 0.18, d.tint(Palette.red), Palette.white)
                d.spots(0, rim: -0.05, cap: 0.72, height: 0.66, Palette.white)
            },
            Class("chanterelle") { d in
                d.woodland()
                let colour = d.tint(Palette.yellow.mixed(Palette.orange, 0.5))
                d.canvas.polygon([Point(-0.72, -0.35), Point(0.72, -0.35), Point(0.2, 0.4), Point(0.15, 0.85), Point(-0.15, 0.85), Point(-0.2, 0.4)], colour)
                d.canvas.ellipse(0, -0.36, 0.74, 0.24, colour.mixed(Palette.white, 0.25))
                d.canvas.ellipse(0, -0.36, 0.44, 0.12, colour.mixed(Palette.brown, 0.35))
                for x in [Float(-0.36), 0, 0.36] { d.canvas.line([Point(x, -0.1), Point(x * 0.35, 0.4)], width: 0.05, colour.mixed(Palette.brown, 0.35)) }
            },
            Class("bolete") { d in
                d.woodland()
                d.mushroom(
                    0, foot: 0.84, rim: -0.02, cap: 0.78, height: 0.52, stalk: 0.36, d.tint(Palette.brown.mixed(Palette.orange, 0.25)), d.tint(Palette.cream))
                d.canvas.ellipse(0, 0.0, 0.76, 0.12, d.tint(Palette.yellow))
            },
            Class("puffball") { d in
                d.woodland()
                for (x, y, r) in [(-0.3, 0.3, 0.52), (0.52, 0.52, 0.32)] as [(Float, Float, Float)] {
                    d.canvas.disk(x, y, r, Palette.white)
                    d.canvas.disk(x + r * 0.2, y + r * 0.25, r * 0.7, Palette.cream.mixed(Palette.white, 0.5))
                    d.toppings(x, y, within: r * 0.75, count: 5, size: 0.05, Palette.grey)
                }
            },
            Class("ink-cap") { d in
                d.woodland()
                for (x, foot) in [(-0.36, 0.72), (0.34, 0.86)] as [(Float, Float)] {
                    d.canvas.box(x, foot - 0.3, 0.09, 0.32, Palette.white)
                    d.canvas.halfEllipse(x, foot - 0.45, 0.28, 0.95, d.tint(Palette.grey.mixed(Palette.white, 0.45)))
                    d.canvas.box(x, foot - 0.47, 0.29, 0.08, d.tint(Palette.ink))
                }
            },
            Class("bracket") { d in
                d.woodland()
                let x = d.dice.pick([Float(-0.42), 0.42])
                d.canvas.box(x, 0, 0.4, 1.4, d.tint(Palette.brown.mixed(Palette.ink, 0.35)))
                for (y, size) in [(-0.5, 0.42), (0.0, 0.54), (0.5, 0.46)] as [(Float, Float)] {
                    let edge = x + (x < 0 ? Float(0.3) : -0.3)
                    d.canvas.halfEllipse(edge, y + 0.1, size, size * 0.55, d.tint(Palette.orange))
                    d.canvas.box(edge, y + 0.12, size, 0.06, round: 0.05, Palette.cream)
                }
            },
            Class("honey-cluster") { d in
                d.woodland()
                for (x, rim, size) in [(-0.55, 0.2, 0.32), (0.56, 0.22, 0.32), (-0.15, -0.25, 0.36), (0.25, 0.1, 0.36)] as [(Float, Float, Float)] {
                    d.mushroom(
                        x, foot: 0.84, rim: rim + d.wobble(0.05), cap: size, height: size * 0.75, stalk: 0.09,
                        d.tint(Palette.yellow.mixed(Palette.orange, 0.35)), Palette.cream)
                }
            },
        ])
}
