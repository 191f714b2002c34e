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
