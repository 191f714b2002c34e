extension Drawing {
    /// A road with a white line under an evening sky; returns the height the wheels stand on.
    fileprivate mutating func street() -> Float {
        let road = dice.real(0.58, 0.68)
        horizon(road - 0.22, Palette.cream.mixed(Palette.sky, 0.3), Palette.grey)
        canvas.box(0, road + 0.2, 3, 0.035, Palette.white)
        canvas.pose = Pose(x: wobble(0.06), y: 0, scale: dice.real(0.92, 1.06), angle: 0)
        return road
    }
    fileprivate mutating func enamel() -> Colour { tint(dice.pick([Palette.red, Palette.blue, Palette.green, Palette.yellow, Palette.white, Palette.orange])) }
}

extension SyntheticDomain {
    /// After Stanford Cars: vehicles from the side on a road.
    static let cars = SyntheticDomain(
        "cars",
        [
            Class("sedan") { d in
                let road = d.street()
                d.sedan(road: road, d.side(), d.enamel(), d.tint(Palette.sky), Palette.ink)
            },
            Class("beetle") { d in
                let road = d.street()
                d.beetle(road: road, d.side(), d.enamel(), d.tint(Palette.sky), Palette.ink)
            },
            Class("pickup") { d in
                let road = d.street()
                d.pickup(road: road, d.side(), d.enamel(), d.tint(Palette.sky), Palette.ink)
            },
            Class("bus") { d in
                let road = d.street()
                d.bus(road: road, d.tint(d.dice.pick([Palette.red, Palette.orange, Palette.blue])), d.tint(Palette.sky), Palette.ink)
            },
            Class("truck") { d in
                let road = d.street()
                d.truck(road: road, d.side(), d.enamel(), d.tint(Palette.white), d.tint(Palette.sky), Palette.ink)
            },
            Class("racing-car") { d in
                let road = d.street()
                // Low as it is, it would be the smallest of all: nearer by a tenth, its wheels still on the road.
                d.canvas.pose.scale *= 1.1
                d.canvas.pose.y -= road * 0.1
                d.racer(road: road, d.side(), d.tint(d.dice.pick([Palette.red, Palette.blue, Palette.green, Palette.orange])), Palette.ink, Palette.yellow)
            },
            Class("taxi") { d in
                let road = d.street()
                let facing = d.side()
                d.canvas.box(-0.04, road - 0.9, 0.2, 0.07, Palette.ink)
                d.sedan(road: road, facing, d.tint(Palette.yellow), d.tint(Palette.sky), Palette.ink)
                for column in -4...3 { d.canvas.box(0.08 + Float(column) * 0.2, road - 0.34, 0.05, 0.05, Palette.ink) }
            },
        ])
}
