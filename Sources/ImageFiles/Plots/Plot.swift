/// A figure with axes: lines with error bars over numbers, or groups of bars over names. Drawn as SVG or as pixels from the same marks.
package struct Plot: Sendable {
    package struct Point: Sendable {
        package let x, y: Double
        /// Half the height of the error bar; 0 draws none.
        package let error: Double

        package init(x: Double, y: Double, error: Double = 0) { (self.x, self.y, self.error) = (x, y, error) }
    }

    package struct Series: Sendable {
        package let name: String
        package let points: [Point]

        package init(_ name: String, _ points: [Point]) { (self.name, self.points) = (name, points) }
    }

    package var title: String
    package var xLabel, yLabel: String
    package var series: [Series]
    /// Names under groups of bars, point x standing for name x; empty for lines over numbers.
    package var categories: [String]

    package init(title: String, xLabel: String = "", yLabel: String = "", series: [Series], categories: [String] = []) {
        (self.title, self.xLabel, self.yLabel, self.series, self.categories) = (title, xLabel, yLabel, series, categories)
    }

    package static let width = 560.0, height = 300.0
}

/// What a plot is made of, in its own units.
enum Mark {
    case line(x1: Double, y1: Double, x2: Double, y2: Double, width: Double, colour: PlotColour)
    case rectangle(x: Double, y: Double, width: Double, height: Double, colour: PlotColour)
    /// Top left, top middle or top right corner.
    case text(String, x: Double, y: Double, anchor: Anchor)

    enum Anchor: String { case start, middle, end }
}

struct PlotColour {
    let red, green, blue: UInt8

    static let ink = PlotColour(red: 0x33, green: 0x33, blue: 0x38)
    static let grid = PlotColour(red: 0xdd, green: 0xdd, blue: 0xe2)
    /// Okabe and Ito's palette: told apart by colour-blind readers too.
    static let series = [
        (0x00, 0x72, 0xb2), (0xd5, 0x5e, 0x00), (0x00, 0x9e, 0x73), (0xcc, 0x79, 0xa7), (0xe6, 0x9f, 0x00), (0x56, 0xb4, 0xe9), (0x77, 0x77, 0x77),
        (0xc0, 0xb0, 0x20),
    ].map { PlotColour(red: UInt8($0.0), green: UInt8($0.1), blue: UInt8($0.2)) }
}

extension Plot {
    var marks: [Mark] {
        let points = series.flatMap(\.points)
        let isBars = !categories.isEmpty
        let y = Axis(covering: points.flatMap { [$0.y - $0.error, $0.y + $0.error] } + (isBars ? [0] : []))
        let x = isBars ? Axis(low: -0.5, high: Double(categories.count) - 0.5) : Axis(covering: points.map(\.x))
        let frame = Frame(x: x, y: y, legendRows: series.count > 1 ? (series.count + 2) / 3 : 0)
        return axes(frame) + series.indices.flatMap { isBars ? bars($0, frame) : lines($0, frame) } + legend(frame)
    }

    private func axes(_ frame: Frame) -> [Mark] {
        var marks: [Mark] = [.text(title, x: Self.width / 2, y: 6, anchor: .middle)]
        for tick in frame.y.ticks {
            marks.append(.line(x1: frame.left, y1: frame.down(tick), x2: frame.right, y2: frame.down(tick), width: 1, colour: .grid))
            marks.append(.text(frame.y.label(tick), x: frame.left - 6, y: frame.down(tick) - 4, anchor: .end))
        }
        for (index, name) in categories.enumerated() { marks.append(.text(name, x: frame.across(Double(index)), y: frame.bottom + 6, anchor: .middle)) }
        for tick in categories.isEmpty ? frame.x.ticks : [] {
            marks.append(.line(x1: frame.across(tick), y1: frame.bottom, x2: frame.across(tick), y2: frame.bottom + 4, width: 1, colour: .ink))
            marks.append(.text(frame.x.label(tick), x: frame.across(tick), y: frame.bottom + 6, anchor: .middle))
        }
        marks.append(.line(x1: frame.left, y1: frame.bottom, x2: frame.right, y2: frame.bottom, width: 1, colour: .ink))
        marks.append(.text(xLabel, x: (frame.left + frame.right) / 2, y: frame.bottom + 20, anchor: .middle))
        marks.append(.text(yLabel, x: 8, y: 20, anchor: .start))
        return marks
    }

    private func lines(_ index: Int, _ frame: Frame) -> [Mark] {
        let points = series[index].points.sorted { $0.x < $1.x }, colour = PlotColour.series[index % PlotColour.series.count]
        let strokes = zip(points, points.dropFirst()).map { a, b in
            Mark.line(x1: frame.across(a.x), y1: frame.down(a.y), x2: frame.across(b.x), y2: frame.down(b.y), width: 1.5, colour: colour)
        }
        let dots = points.map { Mark.rectangle(x: frame.across($0.x) - 2, y: frame.down($0.y) - 2, width: 4, height: 4, colour: colour) }
        return strokes + dots + points.flatMap { errorBar($0, at: frame.across($0.x), frame, colour) }
    }

    private func bars(_ index: Int, _ frame: Frame) -> [Mark] {
        let colour = PlotColour.series[index % PlotColour.series.count]
        let group = 0.8 * (frame.across(1) - frame.across(0)), width = min(40, group / Double(series.count))
        return series[index].points.flatMap { point -> [Mark] in
            let left = frame.across(point.x) + (Double(index) - Double(series.count) / 2) * width
            let (top, zero) = (frame.down(max(point.y, 0)), frame.down(min(point.y, 0)))
            let bar = Mark.rectangle(x: left + 1, y: top, width: max(width - 2, 1), height: zero - top, colour: colour)
            return [bar] + errorBar(point, at: left + width / 2, frame, .ink)
        }
    }

    private func errorBar(_ point: Point, at x: Double, _ frame: Frame, _ colour: PlotColour) -> [Mark] {
        guard point.error > 0 else { return [] }
        let (top, bottom) = (frame.down(point.y + point.error), frame.down(point.y - point.error))
        let ends = [top, bottom].map { Mark.line(x1: x - 3, y1: $0, x2: x + 3, y2: $0, width: 1, colour: colour) }
        return [.line(x1: x, y1: top, x2: x, y2: bottom, width: 1, colour: colour)] + ends
    }

    private func legend(_ frame: Frame) -> [Mark] {
        guard series.count > 1 else { return [] }
        return series.indices.flatMap { index -> [Mark] in
            let x = frame.left + Double(index % 3) * 165, y = frame.bottom + 36 + Double(index / 3) * 14
            return [
                .rectangle(x: x, y: y + 1, width: 8, height: 8, colour: PlotColour.series[index % PlotColour.series.count]),
                .text(series[index].name, x: x + 13, y: y, anchor: .start),
            ]
        }
    }
}

/// A range of numbers and the round ones in it.
private struct Axis {
    let low, high: Double
    let ticks: [Double]

    init(low: Double, high: Double) { (self.low, self.high, ticks) = (low, high, []) }

    /// From zero where the numbers reach down to a third of the largest, else from just below the least.
    init(covering values: [Double]) {
        let (least, most) = (values.min() ?? 0, values.max() ?? 1)
        let start = least > 0 && least < most / 3 ? 0 : least
        let span = most > start ? most - start : max(abs(most), 1)
        let step = Self.round(span / 5)
        let first = (start / step).rounded(.down), last = max((most / step).rounded(.up), first + 1)
        (low, high) = (first * step, last * step)
        ticks = (Int(first)...Int(last)).map { Double($0) * step }
    }

    /// The least of 1, 2, 5 times a power of ten that is not below `step`.
    private static func round(_ step: Double) -> Double {
        var power = 1.0
        while power > step { power /= 10 }
        while power * 10 <= step { power *= 10 }
        return power * ([1, 2, 5].first { $0 * power >= step * 0.999 } ?? 10)
    }

    /// A tick with as many decimals as its step needs.
    func label(_ tick: Double) -> String {
        let step = ticks.count > 1 ? ticks[1] - ticks[0] : 1
        var decimals = 0, unit = 1.0
        while unit > step * 1.001, decimals < 9 { (unit, decimals) = (unit / 10, decimals + 1) }
        let scaled = (abs(tick) / unit).rounded()
        let digits = String(Int(scaled))
        let padded = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
        let sign = tick < 0 && scaled > 0 ? "-" : ""
        return sign + (decimals == 0 ? padded : padded.dropLast(decimals) + "." + padded.suffix(decimals))
    }
}

/// Where the axes lie, and how numbers become places.
private struct Frame {
    let left = 58.0, right = Plot.width - 16
    let top = 36.0, bottom: Double
    let x, y: Axis

    init(x: Axis, y: Axis, legendRows: Int) {
        (self.x, self.y) = (x, y)
        bottom = Plot.height - 38 - Double(legendRows) * 14
    }

    func across(_ value: Double) -> Double { left + (value - x.low) / (x.high - x.low) * (right - left) }
    func down(_ value: Double) -> Double { bottom - (value - y.low) / (y.high - y.low) * (bottom - top) }
}

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

extension Plot {
    /// An `svg` element for a page: no file, script or font beside it is needed.
    package var svg: String {
        let body = marks.map(Self.element).joined(separator: "\n")
        return """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Self.width) \(Self.height)" width="\(Self.width)" height="\(Self.height)" \
            role="img" aria-label="\(escapedForMarkup(title))" font-family="sans-serif" font-size="11" fill="#333338">
            \(body)
            </svg>
            """
    }

    private static func element(_ mark: Mark) -> String {
        switch mark {
        case .line(let x1, let y1, let x2, let y2, let width, let colour):
            "<line x1=\"\(short(x1))\" y1=\"\(short(y1))\" x2=\"\(short(x2))\" y2=\"\(short(y2))\" stroke=\"\(colour.hex)\" stroke-width=\"\(width)\"/>"
        case .rectangle(let x, let y, let width, let height, let colour):
            "<rect x=\"\(short(x))\" y=\"\(short(y))\" width=\"\(short(width))\" height=\"\(short(height))\" fill=\"\(colour.hex)\"/>"
        case .text(let text, let x, let y, let anchor):
            // SVG places text by its base line.
            "<text x=\"\(short(x))\" y=\"\(short(y + 9))\" text-anchor=\"\(anchor.rawValue)\">\(escapedForMarkup(text))</text>"
        }
    }

    private static func short(_ value: Double) -> Double { (value * 100).rounded() / 100 }
}

/// Text as it may stand in HTML and SVG, in quotes too.
package func escapedForMarkup(_ text: String) -> String {
    let names: [Character: String] = ["&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;", "'": "&#39;"]
    return text.map { names[$0] ?? String($0) }.joined()
}

extension PlotColour {
    fileprivate var hex: String { "#" + [red, green, blue].map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
}
