extension SyntheticDomain {
    /// After SUN397: places that fill the picture.
    static let scenes = SyntheticDomain(
        "scenes",
        [
            Class("beach") { d in
                d.plain(Palette.sky)
                d.canvas.disk(d.wobble(0.5), -0.6, 0.24, d.tint(Palette.yellow))
                d.canvas.floor(0.02, d.tint(Palette.blue))
                d.canvas.wave(0.42, height: 0.06, length: 1.4, shift: d.dice.real(0, 1), Palette.white)
                d.canvas.wave(0.5, height: 0.06, length: 1.4, shift: d.dice.real(0, 1), d.tint(Palette.cream))
                d.palm(d.dice.pick([-0.6, 0.5]) + d.wobble(0.1), foot: 0.85, height: 1.15, lean: d.wobble(0.25), d.tint(Palette.forest), d.tint(Palette.brown))
            },
            Class("mountains") { d in
                d.plain(Palette.sky)
                let x = d.wobble(0.25), rock = d.tint(Palette.grey)
                d.peak(x - 0.65, base: 0.55, half: 0.7, height: d.dice.real(0.8, 1.0), rock.mixed(Palette.sky, 0.3), Palette.white)
                d.peak(x + 0.3, base: 0.55, half: 0.9, height: d.dice.real(1.2, 1.4), rock, Palette.white)
                d.canvas.floor(0.5, d.tint(Palette.green))
                for tree in [Float(-0.75), -0.35, 0.6] { d.conifer(tree + d.wobble(0.1), foot: 0.85, height: 0.5, d.tint(Palette.forest), Palette.brown) }
            },
            Class("city-night") { d in
                d.plain(Palette.ink.mixed(Palette.blue, 0.35))
                d.crescent(d.wobble(0.6), -0.72, 0.18, Palette.cream, Palette.ink.mixed(Palette.blue, 0.35))
                d.skyline(
                    base: 0.98, [d.tint(Palette.ink), d.tint(Palette.purple.mixed(Palette.ink, 0.5)), d.tint(Palette.blue.mixed(Palette.ink, 0.5))],
                    d.tint(Palette.yellow))
            },
            Class("forest") { d in
                d.horizon(0.5, Palette.sky.mixed(Palette.green, 0.4), Palette.forest.mixed(Palette.green, 0.5))
                for x in [Float(-0.7), 0.7, -0.2, 0.35] {
                    d.conifer(x + d.wobble(0.12), foot: d.dice.real(0.7, 0.95), height: d.dice.real(1.25, 1.6), d.tint(Palette.forest), d.tint(Palette.brown))
                }
            },
            Class("desert") { d in
                d.plain(Palette.orange.mixed(Palette.yellow, 0.4))
                d.canvas.disk(d.wobble(0.5), -0.45, 0.28, Palette.white)
                d.canvas.wave(0.1, height: 0.14, length: 2.0, shift: d.dice.real(0, 1), d.tint(Palette.orange.mixed(Palette.brown, 0.3)))
                d.canvas.wave(0.48, height: 0.12, length: 2.2, shift: d.dice.real(0, 1), d.tint(Palette.brown.mixed(Palette.orange, 0.45)))
                let x = d.wobble(0.55), cactus = d.tint(Palette.forest)
                d.canvas.line([Point(x, 0.75), Point(x, -0.15)], width: 0.17, cactus)
                d.canvas.line([Point(x - 0.28, 0.05), Point(x - 0.28, 0.3), Point(x, 0.34)], width: 0.12, cactus)
                d.canvas.line([Point(x + 0.28, -0.05), Point(x + 0.28, 0.22), Point(x, 0.26)], width: 0.12, cactus)
            },
            Class("harbour") { d in
                d.plain(Palette.sky)
                d.canvas.floor(0.2, d.tint(Palette.blue))
                d.cloud(d.wobble(0.6), -0.72, 0.14, Palette.white)
                d.sailboat(
                    d.wobble(0.3), water: 0.4, size: d.dice.real(0.85, 1.0), d.tint(d.dice.pick([Palette.red, Palette.brown, Palette.ink])), Palette.white)
                d.canvas.wave(0.72, height: 0.05, length: 0.8, shift: d.dice.real(0, 1), d.tint(Palette.blue.mixed(Palette.ink, 0.25)))
            },
            Class("village") { d in
                d.plain(Palette.sky)
                d.canvas.wave(0.2, height: 0.12, length: 3, shift: d.dice.real(0, 1), d.tint(Palette.green))
                d.house(-0.42 + d.wobble(0.08), base: 0.6, size: 0.72, Palette.cream, d.tint(Palette.red), Palette.brown, Palette.sky)
                d.house(
                    0.46 + d.wobble(0.08), base: 0.8, size: 0.78, Palette.white, d.tint(Palette.orange.mixed(Palette.red, 0.4)), Palette.blue, Palette.yellow)
            },
        ])
}
