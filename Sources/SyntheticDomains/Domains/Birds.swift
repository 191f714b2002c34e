extension Drawing {
    /// A branch against the sky.
    fileprivate mutating func branch() {
        plain(Palette.sky)
        cloud(wobble(0.7), -0.75, 0.12, Palette.white)
        place(shift: 0.06, scale: 0.9...1.05, turn: 0.05)
        canvas.line([Point(-1.4, 0.7), Point(1.4, 0.6)], width: 0.13, tint(Palette.brown))
        canvas.ellipse(0.8, 0.5, 0.18, 0.09, angle: -0.6, tint(Palette.green))
    }

    /// A pond under the sky.
    fileprivate mutating func pond() {
        horizon(0.1, Palette.sky, Palette.blue.mixed(Palette.sky, 0.35))
        place(shift: 0.06, scale: 0.88...1.02, turn: 0.03)
    }
}

extension SyntheticDomain {
    /// After CUB-200: birds on a branch, on a pond, in the snow.
    static let birds = SyntheticDomain(
        "birds",
        [
            Class("cardinal") { d in
                d.branch()
                let f = d.side(), red = d.tint(Palette.red)
                d.canvas.polygon([Point(0.2 * f, -0.4), Point(0.3 * f, -0.82), Point(0.6 * f, -0.38)], red)
                d.songbird(f, y: 0, red, red, red.mixed(Palette.ink, 0.3), Palette.orange)
            },
            Class("bluebird") { d in
                d.branch()
                d.songbird(d.side(), y: 0, d.tint(Palette.blue), d.tint(Palette.orange), d.tint(Palette.blue.mixed(Palette.ink, 0.3)), Palette.ink)
            },
            Class("canary") { d in
                d.branch()
                d.songbird(
                    d.side(), y: 0, d.tint(Palette.yellow), Palette.yellow.mixed(Palette.white, 0.4), d.tint(Palette.orange.mixed(Palette.yellow, 0.4)),
                    Palette.orange)
            },
            Class("owl") { d in
                d.branch()
                d.owl(y: 0.0, d.tint(Palette.brown), d.tint(Palette.cream))
            },
            Class("mallard") { d in
                d.pond()
                d.canvas.pose.scale *= 1.25
                d.waterbird(
                    d.side(), water: 0.42, neck: 0.24, d.tint(Palette.grey.mixed(Palette.white, 0.3)), d.tint(Palette.forest), d.tint(Palette.brown),
                    Palette.yellow)
            },
            Class("swan") { d in
                d.pond()
                d.waterbird(d.side(), water: 0.6, neck: 0.62, Palette.white, Palette.white, Palette.white.mixed(Palette.grey, 0.3), Palette.orange)
            },
            Class("flamingo") { d in
                d.pond()
                let pink = d.tint(Palette.pink)
                d.wader(d.side(), foot: 0.9, pink, pink.mixed(Palette.red, 0.35), d.tint(Palette.red.mixed(Palette.pink, 0.5)))
            },
            Class("penguin") { d in
                d.horizon(0.45, Palette.sky, Palette.white)
                d.place(shift: 0.06, scale: 0.9...1.05, turn: 0.04)
                d.penguin(y: 0.05, d.tint(Palette.ink), Palette.white)
            },
        ])
}
