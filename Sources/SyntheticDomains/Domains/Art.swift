extension Drawing {
    /// Hangs what has been painted: a golden frame on a dark red gallery wall.
    fileprivate mutating func hang() {
        canvas.pose = Pose(x: wobble(0.04), y: wobble(0.04), scale: dice.real(0.94, 1.03), angle: wobble(0.02))
        frame(inner: 0.68, border: 0.15, tint(Palette.yellow.mixed(Palette.brown, 0.35)), wall: tint(Palette.red.mixed(Palette.ink, 0.62)))
    }
}

extension SyntheticDomain {
    /// After ArtBench-10: framed pictures on a gallery's wall.
    static let art = SyntheticDomain(
        "art",
        [
            Class("colour-field") { d in
                let one = d.dice.pick([Palette.red, Palette.orange, Palette.blue, Palette.purple])
                d.plain(one)
                d.canvas.box(0, -0.32, 0.52, 0.26, round: 0.1, d.colour(against: one))
                d.canvas.box(0, 0.34, 0.52, 0.22, round: 0.1, d.colour(against: one))
                d.hang()
            },
            Class("mosaic") { d in
                d.plain(Palette.white)
                d.mosaic(half: 0.75, [Palette.red, Palette.blue, Palette.yellow, Palette.white, Palette.white], Palette.ink)
                d.hang()
            },
            Class("portrait") { d in
                d.plain(d.dice.pick([Palette.forest, Palette.blue, Palette.grey]))
                d.canvas.pose.scale = 0.78
                d.canvas.pose.y = 0.1
                d.portrait(
                    d.tint(d.dice.pick([Palette.cream, Palette.cream.mixed(Palette.brown, 0.4)])),
                    d.tint(d.dice.pick([Palette.ink, Palette.brown, Palette.orange])), d.tint(d.dice.pick([Palette.white, Palette.red, Palette.purple])))
                d.hang()
            },
            Class("spiral") { d in
                let ground = d.plain(d.dice.pick([Palette.cream, Palette.ink, Palette.yellow]))
                d.spiral(0, 0, 0.62, turns: 2.4, width: 0.13, d.colour(Palette.bright, against: ground))
                d.hang()
            },
            Class("circles") { d in
                let ground = d.plain(d.dice.pick([Palette.white, Palette.cream, Palette.sky]))
                for (x, y) in [(-0.32, -0.32), (0.32, -0.32), (-0.32, 0.32), (0.32, 0.32)] as [(Float, Float)] {
                    let outer = d.colour(Palette.bright, against: ground), inner = d.colour(Palette.bright, against: outer)
                    d.rings(x, y, 0.3, [outer, inner, d.colour(Palette.bright, against: inner)])
                }
                d.hang()
            },
            Class("still-life") { d in
                d.horizon(0.25, Palette.ink.mixed(Palette.brown, 0.4), Palette.brown)
                d.vase(-0.18, foot: 0.52, size: 0.82, d.tint(d.dice.pick([Palette.blue, Palette.white, Palette.forest])))
                d.canvas.disk(0.32, 0.4, 0.19, d.tint(Palette.red))
                d.canvas.disk(0.12, 0.5, 0.16, d.tint(Palette.yellow))
                d.hang()
            },
            Class("starry-night") { d in
                let sky = d.plain(Palette.blue.mixed(Palette.ink, 0.2))
                for _ in 0..<5 { d.star(d.wobble(0.6), d.wobble(0.4) - 0.15, d.dice.real(0.1, 0.16), d.tint(Palette.yellow)) }
                d.crescent(d.wobble(0.3), -0.3, 0.24, d.tint(Palette.yellow), sky)
                d.canvas.wave(0.4, height: 0.1, length: 1.2, shift: d.dice.real(0, 1), d.tint(Palette.forest))
                d.hang()
            },
        ])
}
