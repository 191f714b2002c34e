extension Drawing {
    /// A studio: a pale sweep of paper and a soft shadow.
    fileprivate mutating func studio() {
        canvas.background(tint(Palette.white), tint(Palette.white.mixed(Palette.grey, 0.45)))
        canvas.ellipse(0, 0.88, 0.75, 0.1, Palette.grey.mixed(Palette.white, 0.1))
        place(shift: 0.06, scale: 0.88...1.04, turn: 0.06)
    }
    fileprivate mutating func paintbox() -> Colour {
        tint(dice.pick([Palette.red, Palette.blue, Palette.green, Palette.orange, Palette.purple, Palette.yellow]))
    }
}

extension SyntheticDomain {
    /// After Caltech-101: single things against a studio's paper.
    static let objects = SyntheticDomain(
        "objects",
        [
            Class("clock") { d in
                d.studio()
                d.clock(0, 0, 0.8, d.paintbox(), Palette.white, Palette.ink)
            },
            Class("mug") { d in
                d.studio()
                d.vessel(-0.1, 0.15, 0.5, 0.6, handle: d.side(), d.paintbox(), d.tint(Palette.brown))
            },
            Class("umbrella") { d in
                d.studio()
                let cloth = d.paintbox()
                d.canvas.line([Point(0, -0.7), Point(0, 0.74)], width: 0.08, Palette.ink)
                d.canvas.arc(0.15, 0.72, 0.19, width: 0.09, from: 0, to: .pi, Palette.ink)
                d.canvas.halfEllipse(0, 0.04, 0.86, 0.8, cloth)
                d.canvas.halfEllipse(0, 0.04, 0.32, 0.8, cloth.mixed(Palette.white, 0.45))
            },
            Class("chair") { d in
                d.studio()
                d.chair(0, foot: 0.88, size: 1.1, facing: d.side(), d.tint(Palette.brown), d.paintbox())
            },
            Class("lamp") { d in
                d.studio()
                let shade = d.paintbox()
                d.canvas.ellipse(0, 0.82, 0.42, 0.11, Palette.ink)
                d.canvas.line([Point(0, -0.1), Point(0, 0.8)], width: 0.1, Palette.ink)
                d.canvas.ellipse(0, 0.02, 0.3, 0.12, Palette.yellow)
                d.canvas.polygon([Point(-0.3, -0.78), Point(0.3, -0.78), Point(0.68, 0.0), Point(-0.68, 0.0)], shade)
            },
            Class("book") { d in
                d.studio()
                let cover = d.paintbox()
                d.canvas.pose.angle += d.wobble(0.25)
                d.canvas.box(0.07, 0.07, 0.58, 0.76, Palette.grey)
                d.canvas.box(0, 0, 0.58, 0.76, round: 0.05, cover)
                d.canvas.box(-0.46, 0, 0.07, 0.76, cover.mixed(Palette.ink, 0.4))
                d.canvas.box(0.08, -0.32, 0.32, 0.13, Palette.white)
            },
            Class("balloon") { d in
                d.studio()
                let colour = d.paintbox()
                d.canvas.line([Point(0, 0.3), Point(0.1, 0.6), Point(-0.04, 0.92)], width: 0.05, Palette.ink)
                d.canvas.polygon([Point(-0.12, 0.44), Point(0.12, 0.44), Point(0, 0.24)], colour)
                d.canvas.ellipse(0, -0.26, 0.54, 0.62, colour)
                d.canvas.ellipse(-0.2, -0.48, 0.12, 0.18, angle: 0.4, colour.mixed(Palette.white, 0.65))
            },
        ])
}
