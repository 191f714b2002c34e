/// One picture in the making: the canvas and the dice that vary it.
struct Drawing {
    var canvas: Canvas
    var dice: Dice

    /// Two numbers from the range, for positions that wobble.
    mutating func wobble(_ amount: Float) -> Float { dice.real(-amount, amount) }

    /// A palette colour as this picture has it: each channel up to 4 % off.
    mutating func tint(_ colour: Colour) -> Colour {
        let light = dice.real(0.97, 1.03)
        return Colour(
            min(1, colour.r * light + dice.real(-0.02, 0.02)), min(1, colour.g * light + dice.real(-0.02, 0.02)),
            min(1, colour.b * light + dice.real(-0.02, 0.02)))
    }

    /// A colour among `choices` that stands out from every one of `others`.
    mutating func colour(_ choices: [Colour] = Palette.all, against others: Colour...) -> Colour {
        let distinct = choices.filter { choice in others.allSatisfy { $0.distance(choice) > 0.55 } }
        return tint(dice.pick(distinct.isEmpty ? choices : distinct))
    }

    /// A quiet background of one colour, hardly lighter above than below; returns it.
    @discardableResult
    mutating func plain(_ colour: Colour) -> Colour {
        let ground = tint(colour)
        canvas.background(ground.mixed(Palette.white, 0.06), ground.mixed(Palette.ink, 0.05))
        return ground
    }

    /// A two-tone background: `above` and, from height `y` on, `below`.
    mutating func horizon(_ y: Float, _ above: Colour, _ below: Colour) {
        let top = tint(above)
        canvas.background(top.mixed(Palette.white, 0.06), top)
        canvas.floor(y, tint(below))
    }

    /// Places what follows: shifted, scaled and turned a little.
    mutating func place(shift: Float = 0.09, scale: ClosedRange<Float> = 0.86...1.08, turn: Float = 0.12) {
        canvas.pose = Pose(
            x: wobble(shift), y: wobble(shift), scale: dice.real(scale.lowerBound, scale.upperBound), angle: wobble(turn))
    }
}
