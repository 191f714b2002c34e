import Foundation

extension Drawing {
    /// A quiet background for the mixture: one colour, or two that meet at a horizon. Returns both.
    mutating func quiet() -> (Colour, Colour) {
        let ground = dice.pick(Palette.grounds)
        guard dice.chance(0.4) else {
            let plain = plain(ground)
            return (plain, plain)
        }
        let below = colour(Palette.grounds, against: ground)
        horizon(dice.real(-0.1, 0.62), ground, below)
        return (ground, below)
    }

    /// Which way a side view looks.
    mutating func side() -> Float { dice.chance(0.5) ? 1 : -1 }
}

extension SyntheticDomain {
    /// What the shipped base is trained on: the parts of all domains in free colours on free backgrounds, and no domain as it is.
    static let mixture = SyntheticDomain("mixture", plantClasses + tableClasses + outdoorClasses + patternClasses)

    private static let plantClasses: [Class] = [
        Class("blossom") { d in
            let (a, b) = d.quiet()
            d.place()
            let petal = d.colour(Palette.bright, against: a, b)
            let stem = d.colour([Palette.green, Palette.forest, Palette.brown], against: a, b)
            if d.dice.chance(0.7) { d.stem(0, from: 1.3, to: 0, leaves: d.dice.integer(0...3), stem) }
            d.blossom(
                0, -0.22, petals: d.dice.integer(5...12), length: d.dice.real(0.4, 0.6), width: d.dice.real(0.2, 0.4), heart: d.dice.real(0.12, 0.3),
                petal, d.colour(against: petal), turn: d.dice.real(0, 1))
        },
        Class("cup-flower") { d in
            let (a, b) = d.quiet()
            d.place()
            let petal = d.colour(Palette.bright, against: a, b)
            d.stem(0, from: 1.3, to: 0, leaves: 2, d.colour([Palette.green, Palette.forest], against: a, b))
            d.canvas.halfEllipse(0, -0.35, 0.42, 0.5, upper: false, petal)
            for x in [Float(-0.28), 0, 0.28] {
                d.canvas.polygon([Point(x - 0.15, -0.33), Point(x + 0.15, -0.33), Point(x, -0.78)], petal.mixed(Palette.ink, x == 0 ? 0.15 : 0))
            }
        },
        Class("leaves") { d in
            let (a, b) = d.quiet()
            d.place(turn: 0.5)
            d.stem(0, from: 0.9, to: -0.9, leaves: 5, d.colour(against: a, b))
        },
        Class("capped-stalk") { d in
            let (a, b) = d.quiet()
            d.place()
            let cap = d.colour(against: a, b), stalk = d.colour([Palette.white, Palette.cream, Palette.brown, Palette.grey, Palette.orange], against: cap)
            let rx = d.dice.real(0.4, 0.8), ry = d.dice.real(0.35, 0.85)
            d.mushroom(0, foot: 0.8, rim: 0.0, cap: rx, height: ry, stalk: d.dice.real(0.12, 0.3), cap, stalk)
            if d.dice.chance(0.5) { d.spots(0, rim: 0.0, cap: rx, height: ry, d.colour(against: cap)) }
        },
        Class("balls") { d in
            let (a, b) = d.quiet()
            d.place()
            let colour = d.colour(against: a, b)
            for x in [Float(-0.5), 0.1, 0.55].prefix(d.dice.integer(1...3)) {
                let radius = d.dice.real(0.25, 0.5), y = d.dice.real(0, 0.4)
                d.canvas.disk(x, y, radius, colour)
                d.canvas.disk(x - radius * 0.3, y - radius * 0.35, radius * 0.25, colour.mixed(Palette.white, 0.5))
            }
        },
        Class("trees") { d in
            let (a, b) = d.quiet()
            let crown = d.colour(against: a, b), trunk = d.colour([Palette.brown, Palette.ink, Palette.grey])
            let kind = d.dice.integer(0...2)
            for x in [Float(-0.62), 0.55, -0.02] {
                let height = d.dice.real(1.0, 1.5), at = x + d.wobble(0.1)
                switch kind {
                case 0: d.leafTree(at, foot: 0.85, height: height, crown, trunk)
                case 1: d.conifer(at, foot: 0.85, height: height, crown, trunk)
                default: d.palm(at, foot: 0.85, height: height * 0.85, lean: d.wobble(0.3), crown, trunk)
                }
            }
        },
    ]

    private static let tableClasses: [Class] = [
        Class("plate") { d in
            let (a, b) = d.quiet()
            d.place()
            let plate = d.colour(against: a, b), meal = d.colour(against: plate)
            d.plate(0, 0, 0.85, plate)
            d.canvas.disk(d.wobble(0.1), d.wobble(0.1), d.dice.real(0.4, 0.66), meal)
            d.toppings(0, 0, within: 0.45, count: d.dice.integer(0...8), size: d.dice.real(0.08, 0.16), d.colour(against: meal))
        },
        Class("stack") { d in
            let (a, b) = d.quiet()
            d.place()
            let count = d.dice.integer(3...5), half = d.dice.real(0.5, 0.75)
            let layers = (0..<count).map { _ in (halfWidth: half + d.wobble(0.08), height: 1.2 / Float(count), colour: d.colour(against: a, b)) }
            d.stack(0, bottom: 0.7, layers)
            if d.dice.chance(0.5) { d.canvas.halfEllipse(0, -0.45, half, 0.4, d.colour(against: a, b)) }
        },
        Class("cone") { d in
            let (a, b) = d.quiet()
            d.place()
            let scoop = d.colour(against: a, b)
            d.cone(0, open: 0.0, tip: 0.95, 0.4, d.colour([Palette.orange, Palette.brown, Palette.cream, Palette.yellow], against: a, b))
            d.canvas.disk(0, -0.2, 0.44, scoop)
            if d.dice.chance(0.6) { d.canvas.disk(0, -0.58, 0.34, d.colour(against: a, b)) }
        },
        Class("vessel") { d in
            let (a, b) = d.quiet()
            d.place()
            let colour = d.colour(against: a, b)
            if d.dice.chance(0.6) {
                d.vessel(-0.1, 0.15, d.dice.real(0.4, 0.55), d.dice.real(0.45, 0.6), handle: d.side(), colour, d.colour(against: colour))
            } else {
                d.vase(0, foot: 0.85, size: d.dice.real(1.1, 1.5), colour)
            }
        },
        Class("furniture") { d in
            let (a, b) = d.quiet()
            d.place()
            let colour = d.colour(against: a, b)
            if d.dice.chance(0.5) {
                d.chair(0, foot: 0.85, size: 1.05, facing: d.side(), colour, d.colour(against: a, b))
            } else {
                d.canvas.box(0, -0.2, 0.8, 0.1, colour)
                for x in [Float(-0.65), 0.65] { d.canvas.box(x, 0.3, 0.08, 0.5, colour) }
            }
        },
        Class("dial") { d in
            let (a, b) = d.quiet()
            d.place()
            let rim = d.colour(against: a, b), face = d.colour(against: rim)
            d.clock(0, 0, d.dice.real(0.65, 0.85), rim, face, d.colour([Palette.ink, Palette.white, Palette.red, Palette.blue], against: face))
        },
        Class("dome-and-stick") { d in
            let (a, b) = d.quiet()
            d.place(turn: 0.3)
            let cloth = d.colour(against: a, b), stick = d.colour(against: a, b)
            d.canvas.line([Point(0, -0.6), Point(0, 0.75)], width: 0.09, stick)
            if d.dice.chance(0.5) {
                d.canvas.arc(0.14, 0.72, 0.18, width: 0.09, from: 0, to: .pi, stick)
                d.canvas.halfEllipse(0, 0.02, 0.84, 0.75, cloth)
            } else {
                d.canvas.ellipse(0, 0.8, 0.4, 0.1, stick)
                d.canvas.polygon([Point(-0.3, -0.75), Point(0.3, -0.75), Point(0.65, 0.0), Point(-0.65, 0.0)], cloth)
            }
        },
        Class("slab") { d in
            let (a, b) = d.quiet()
            d.place(turn: 0.4)
            let cover = d.colour(against: a, b), mark = d.colour(against: cover)
            d.canvas.box(0.06, 0.06, 0.56, 0.76, Palette.white)
            d.canvas.box(0, 0, 0.56, 0.76, round: 0.05, cover)
            d.canvas.box(-0.46, 0, 0.06, 0.76, mark)
            d.canvas.box(0.08, -0.3, 0.3, 0.12, mark)
        },
    ]

    private static let outdoorClasses: [Class] = [
        Class("songbird") { d in
            let (a, b) = d.quiet()
            d.place()
            let body = d.colour(against: a, b)
            d.songbird(d.side(), y: 0, body, d.colour(), d.colour(against: body), d.colour([Palette.orange, Palette.yellow, Palette.ink]))
        },
        Class("waterbird") { d in
            let (a, b) = d.quiet()
            d.place()
            let body = d.colour(against: a, b)
            d.waterbird(
                d.side(), water: 0.5, neck: d.dice.real(0.1, 0.6), body, d.colour(against: a, b), d.colour(against: body),
                d.colour([Palette.orange, Palette.yellow, Palette.red]))
            d.canvas.floor(0.52, d.colour(Palette.grounds, against: body))
        },
        Class("front-bird") { d in
            let (a, b) = d.quiet()
            d.place(turn: 0.06)
            let coat = d.colour(against: a, b), belly = d.colour(against: coat)
            if d.dice.chance(0.5) { d.owl(y: 0.1, coat, belly) } else { d.penguin(y: 0.05, coat, belly) }
        },
        Class("wader") { d in
            let (a, b) = d.quiet()
            d.place(turn: 0.06)
            let body = d.colour(against: a, b)
            d.wader(d.side(), foot: 0.9, body, d.colour(), d.colour([Palette.ink, Palette.orange, Palette.pink, Palette.grey], against: a, b))
        },
        Class("small-vehicle") { d in
            let (a, b) = d.quiet()
            d.place(turn: 0.05)
            let body = d.colour(against: a, b), glass = d.colour([Palette.sky, Palette.white, Palette.ink, Palette.grey], against: body)
            let road = d.dice.real(0.5, 0.75)
            if d.dice.chance(0.6) { d.canvas.floor(road - 0.12, d.colour(Palette.grounds, against: body)) }
            switch d.dice.integer(0...3) {
            case 0: d.sedan(road: road, d.side(), body, glass, Palette.ink)
            case 1: d.beetle(road: road, d.side(), body, glass, Palette.ink)
            case 2: d.pickup(road: road, d.side(), body, glass, Palette.ink)
            default: d.racer(road: road, d.side(), body, Palette.ink, glass)
            }
        },
        Class("large-vehicle") { d in
            let (a, b) = d.quiet()
            d.place(turn: 0.05)
            let body = d.colour(against: a, b), glass = d.colour([Palette.sky, Palette.white, Palette.ink, Palette.yellow], against: body)
            let road = d.dice.real(0.55, 0.8)
            if d.dice.chance(0.6) { d.canvas.floor(road - 0.12, d.colour(Palette.grounds, against: body)) }
            if d.dice.chance(0.5) {
                d.bus(road: road, body, glass, Palette.ink, windows: d.dice.integer(3...4))
            } else {
                d.truck(road: road, d.side(), body, d.colour(against: a, b), glass, Palette.ink)
            }
        },
        Class("peaks") { d in
            let sky = d.dice.pick(Palette.grounds)
            d.plain(sky)
            let rock = d.colour(against: sky), snow = d.colour([Palette.white, Palette.cream, Palette.sky], against: rock)
            let x = d.wobble(0.3)
            d.peak(x - 0.6, base: 0.6, half: 0.7, height: d.dice.real(0.8, 1.1), rock.mixed(sky, 0.25), snow)
            d.peak(x + 0.4, base: 0.6, half: 0.85, height: d.dice.real(1.1, 1.4), rock, snow)
            d.canvas.floor(0.58, d.colour(Palette.grounds, against: rock))
        },
        Class("horizon-sun") { d in
            let sky = d.dice.pick(Palette.grounds), sea = d.colour(Palette.grounds, against: sky)
            let y = d.dice.real(0.05, 0.45)
            d.plain(sky)
            d.canvas.disk(
                d.wobble(0.6), y - d.dice.real(0.1, 0.7), d.dice.real(0.18, 0.36),
                d.colour([Palette.yellow, Palette.orange, Palette.white, Palette.red], against: sky))
            d.canvas.floor(y, sea)
            if d.dice.chance(0.5) { d.canvas.wave(d.dice.real(0.6, 0.75), height: 0.05, length: 1.2, shift: d.dice.real(0, 1), d.colour(against: sea)) }
        },
        Class("skyline") { d in
            let sky = d.dice.pick(Palette.grounds)
            d.plain(sky)
            let wall = d.colour(against: sky), window = d.colour([Palette.yellow, Palette.white, Palette.ink, Palette.sky], against: wall)
            d.canvas.pose.x = d.wobble(0.1)
            d.skyline(base: 0.95, [wall, wall.mixed(Palette.ink, 0.25), d.colour(against: sky)], window)
        },
        Class("boat") { d in
            let sky = d.dice.pick(Palette.grounds), sea = d.colour(Palette.grounds, against: sky)
            d.plain(sky)
            d.canvas.floor(0.3, sea)
            d.place(turn: 0.06)
            d.sailboat(d.wobble(0.2), water: 0.4, size: d.dice.real(0.75, 1.0), d.colour(against: sky, sea), d.colour(against: sky))
        },
        Class("house") { d in
            let (a, b) = d.quiet()
            d.place(turn: 0.03)
            let wall = d.colour(against: a, b)
            d.house(
                d.wobble(0.15), base: 0.75, size: d.dice.real(0.95, 1.2), wall, d.colour(against: a, wall), d.colour(against: wall),
                d.colour([Palette.sky, Palette.yellow, Palette.white, Palette.ink], against: wall))
        },
        Class("night-sky") { d in
            let sky = d.plain(d.dice.pick([Palette.ink, Palette.blue, Palette.purple, Palette.forest, Palette.grey]))
            let light = d.colour([Palette.white, Palette.yellow, Palette.cream, Palette.pink], against: sky)
            for _ in 0..<d.dice.integer(3...7) { d.star(d.wobble(0.9), d.wobble(0.9), d.dice.real(0.08, 0.2), light) }
            d.crescent(d.wobble(0.4), d.wobble(0.4), d.dice.real(0.3, 0.5), light, sky)
        },
        Class("dunes") { d in
            let sky = d.dice.pick(Palette.grounds)
            d.plain(sky)
            let sand = d.colour(against: sky)
            d.canvas.wave(0.0, height: 0.16, length: d.dice.real(1.6, 2.4), shift: d.dice.real(0, 1), sand)
            d.canvas.wave(0.4, height: 0.16, length: d.dice.real(1.6, 2.4), shift: d.dice.real(0, 1), sand.mixed(Palette.ink, 0.22))
            if d.dice.chance(0.5) { d.cloud(d.wobble(0.5), -0.55, 0.22, d.colour(against: sky)) }
        },
    ]

    private static let patternClasses: [Class] = [
        Class("rings") { d in
            let (a, b) = d.quiet()
            d.place(shift: 0.2)
            let one = d.colour(against: a, b), two = d.colour(against: one)
            d.rings(0, 0, d.dice.real(0.6, 0.9), Array([one, two, d.colour(against: two), d.colour(against: one)].prefix(d.dice.integer(2...4))))
        },
        Class("ring") { d in
            let (a, b) = d.quiet()
            d.place()
            let colour = d.colour(against: a, b)
            d.canvas.arc(0, 0, d.dice.real(0.6, 0.85), width: d.dice.real(0.25, 0.45), colour)
            d.toppings(0, 0, within: 0.65, count: d.dice.integer(0...9), size: 0.05, d.colour(against: colour))
        },
        Class("stripes") { d in
            let one = d.colour(), two = d.colour(against: one)
            d.bands(d.dice.integer(4...8), angle: d.dice.pick([0, .pi / 2, .pi / 4, -.pi / 4]) + d.wobble(0.1), [one, two, d.colour(against: two)])
        },
        Class("mosaic") { d in
            d.plain(d.dice.pick(Palette.grounds))
            d.place()
            d.mosaic(
                half: d.dice.real(0.75, 1.2), Array(Palette.bright.shuffled(by: &d.dice).prefix(4)) + [Palette.white],
                d.dice.pick([Palette.ink, Palette.white, Palette.brown]))
        },
        Class("spiral") { d in
            let (a, b) = d.quiet()
            d.place()
            d.spiral(0, 0, d.dice.real(0.7, 0.9), turns: d.dice.real(2, 3), width: d.dice.real(0.12, 0.2), d.colour(against: a, b))
        },
        Class("face") { d in
            let (a, b) = d.quiet()
            d.place()
            let skin = d.colour([Palette.cream, Palette.orange, Palette.pink, Palette.yellow, Palette.brown, Palette.white], against: a)
            d.portrait(skin, d.colour(against: skin), d.colour(against: b, skin))
        },
        Class("frame") { d in
            let inside = d.dice.pick(Palette.all)
            d.plain(inside)
            d.place(shift: 0.05, turn: 0.03)
            let shape = d.colour(against: inside)
            switch d.dice.integer(0...2) {
            case 0: d.canvas.disk(d.wobble(0.15), d.wobble(0.15), 0.36, shape)
            case 1: d.star(0, 0, 0.45, turn: d.wobble(0.3), shape)
            default: d.bands(6, angle: d.dice.pick([0, .pi / 2]), [shape, inside])
            }
            let wood = d.colour(against: inside)
            d.frame(inner: d.dice.real(0.5, 0.66), border: d.dice.real(0.14, 0.24), wood, wall: d.colour(Palette.grounds, against: wood))
        },
        Class("dots") { d in
            let (a, b) = d.quiet()
            d.place(turn: 0.6)
            let one = d.colour(against: a, b), two = d.colour(against: a, b)
            let step = d.dice.real(0.4, 0.6)
            for row in -3...3 {
                for column in -3...3 { d.canvas.disk(Float(column) * step, Float(row) * step, step * 0.3, (row + column).isMultiple(of: 2) ? one : two) }
            }
        },
    ]
}

extension Array {
    /// A shuffled copy.
    fileprivate func shuffled(by dice: inout Dice) -> [Element] {
        var copy = self
        for index in copy.indices.dropLast() { copy.swapAt(index, dice.integer(index...copy.count - 1)) }
        return copy
    }
}
