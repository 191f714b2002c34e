/// A colour with channels in 0...1.
struct Colour: Equatable {
    var r: Float, g: Float, b: Float

    init(_ r: Float, _ g: Float, _ b: Float) { (self.r, self.g, self.b) = (r, g, b) }

    /// Towards `other` by `amount` in 0...1.
    func mixed(_ other: Colour, _ amount: Float) -> Colour {
        Colour(r + (other.r - r) * amount, g + (other.g - g) * amount, b + (other.b - b) * amount)
    }

    func distance(_ other: Colour) -> Float { abs(r - other.r) + abs(g - other.g) + abs(b - other.b) }
}

/// The colours that the base mixture and all domains share: an adapter can only reach what its base has seen.
enum Palette {
    static let white = Colour(0.97, 0.97, 0.95)
    static let cream = Colour(0.95, 0.87, 0.69)
    static let ink = Colour(0.10, 0.09, 0.13)
    static let grey = Colour(0.56, 0.58, 0.61)
    static let red = Colour(0.86, 0.13, 0.14)
    static let orange = Colour(0.97, 0.55, 0.10)
    static let yellow = Colour(0.99, 0.85, 0.16)
    static let green = Colour(0.36, 0.73, 0.24)
    static let forest = Colour(0.08, 0.37, 0.19)
    static let sky = Colour(0.56, 0.81, 0.96)
    static let blue = Colour(0.12, 0.34, 0.78)
    static let purple = Colour(0.50, 0.22, 0.66)
    static let pink = Colour(0.97, 0.60, 0.74)
    static let brown = Colour(0.46, 0.26, 0.11)

    static let all = [white, cream, ink, grey, red, orange, yellow, green, forest, sky, blue, purple, pink, brown]
    static let bright = [red, orange, yellow, green, sky, blue, purple, pink, white]
    /// What a quiet background is made of.
    static let grounds = [white, cream, sky, green, grey, forest, ink, blue, brown, pink, yellow]
}
