extension Plot {
    /// The plot as a picture, `scale` pixels for one of its units.
    package func picture(scale: Int = 2) -> RGBImage {
        var picture = RGBImage(width: Int(Self.width) * scale, height: Int(Self.height) * scale, filledWith: (255, 255, 255))
        let factor = Double(scale)
        for mark in marks {
            switch mark {
            case .line(let x1, let y1, let x2, let y2, let width, let colour):
                picture.draw(from: (x1 * factor, y1 * factor), to: (x2 * factor, y2 * factor), width: width * factor, colour)
            case .rectangle(let x, let y, let width, let height, let colour):
                // A rectangle is a line as wide as it is high.
                let middle = (y + height / 2) * factor
                picture.draw(from: (x * factor, middle), to: ((x + width) * factor, middle), width: height * factor, colour)
            case .text(let text, let x, let y, let anchor):
                let width = RGBImage.textWidth(text, scale: scale)
                let left = Int(x * factor) - (anchor == .end ? width : anchor == .middle ? width / 2 : 0)
                picture.draw(text: text, x: left, y: Int(y * factor), scale: scale, colour: (PlotColour.ink.red, PlotColour.ink.green, PlotColour.ink.blue))
            }
        }
        return picture
    }
}

extension RGBImage {
    /// A straight stroke with square ends, each pixel coloured by the share of it that is covered.
    fileprivate mutating func draw(from a: (x: Double, y: Double), to b: (x: Double, y: Double), width stroke: Double, _ colour: PlotColour) {
        let (dx, dy) = (b.x - a.x, b.y - a.y)
        let length = (dx * dx + dy * dy).squareRoot()
        guard length > 0, stroke > 0 else { return }
        let reach = stroke / 2 + 1
        let columns = Int(max(0, min(a.x, b.x) - reach))..<max(Int(max(0, min(a.x, b.x) - reach)), min(width, Int(max(a.x, b.x) + reach) + 1))
        let rows = Int(max(0, min(a.y, b.y) - reach))..<max(Int(max(0, min(a.y, b.y) - reach)), min(height, Int(max(a.y, b.y) + reach) + 1))
        for row in rows {
            for column in columns {
                let (px, py) = (Double(column) + 0.5 - a.x, Double(row) + 0.5 - a.y)
                let along = (px * dx + py * dy) / length, beside = abs(px * dy - py * dx) / length
                let share = covered(along, from: 0, to: length) * covered(beside, from: -stroke / 2, to: stroke / 2)
                guard share > 0 else { continue }
                let at = (row * width + column) * 3
                for (channel, value) in [colour.red, colour.green, colour.blue].enumerated() {
                    pixels[at + channel] = UInt8((Double(value) * share + Double(pixels[at + channel]) * (1 - share)).rounded())
                }
            }
        }
    }

    /// Share of the unit interval around `place` that lies between two ends.
    private func covered(_ place: Double, from low: Double, to high: Double) -> Double {
        max(0, min(place + 0.5, high) - max(place - 0.5, low))
    }
}
