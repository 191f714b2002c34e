import Foundation
import ImageFiles

/// A report as one page: what was measured, a table, plots and sheets of images; HTML with everything inside it, or a picture.
package struct ReportPage: Sendable {
    package struct Sheet: Sendable {
        package let caption: String
        package let picture: RGBImage

        package init(caption: String, picture: RGBImage) { (self.caption, self.picture) = (caption, picture) }
    }

    package let title: String
    /// What was found, in plain words, under the title.
    package let verdict: [String]
    /// What the figures are.
    package let notes: [String]
    /// The first row holds the headings.
    package let table: [[String]]
    package let plots: [Plot]
    package let sheets: [Sheet]

    package init(title: String, verdict: [String] = [], notes: [String], table: [[String]], plots: [Plot], sheets: [Sheet]) {
        (self.title, self.verdict, self.notes, self.table, self.plots, self.sheets) = (title, verdict, notes, table, plots, sheets)
    }

    package enum Form: String, CaseIterable {
        case html, png

        /// The form that a file's name asks for.
        package init(ofFile path: String) throws(EvaluationError) {
            guard let form = Form(rawValue: URL(filePath: path).pathExtension.lowercased()) else { throw .reportForm(path) }
            self = form
        }
    }

    /// Writes the page in the form that the file's name asks for, whole or not at all.
    package func write(to path: String) throws {
        try (Form(ofFile: path) == .html ? Data(html().utf8) : picture().png()).writeWhole(to: path)
    }

    /// A page without scripts, style sheets or pictures beside it; it obeys the reader's dark or light setting.
    package func html() throws(ImageFileError) -> String {
        var body = ["<h1>\(escapedForMarkup(title))</h1>"]
        body += verdict.map { "<p class=\"verdict\">\(escapedForMarkup($0))</p>" }
        if let head = table.first {
            let cells = { (row: [String], tag: String) in row.map { "<\(tag)>\(escapedForMarkup($0))</\(tag)>" }.joined() }
            let rows = table.dropFirst().map { "<tr>\(cells($0, "td"))</tr>" }.joined(separator: "\n")
            body.append("<div class=\"wide\"><table><thead><tr>\(cells(head, "th"))</tr></thead>\n<tbody>\n\(rows)\n</tbody></table></div>")
        }
        body += notes.map { "<p>\(escapedForMarkup($0))</p>" }
        body += plots.map { "<figure class=\"plot\">\($0.svg)</figure>" }
        for sheet in sheets {
            let data = try sheet.picture.png().base64EncodedString()
            body.append(
                """
                <figure><figcaption>\(escapedForMarkup(sheet.caption))</figcaption>\
                <img width="\(sheet.picture.width)" alt="\(escapedForMarkup(sheet.caption))" src="data:image/png;base64,\(data)"></figure>
                """)
        }
        return """
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
            <title>\(escapedForMarkup(title))</title><style>\(Self.style)</style></head>
            <body>
            \(body.joined(separator: "\n"))
            </body></html>

            """
    }

    private static let style = """
        :root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
        h1{font-size:1.5rem}p{margin:.3rem 0;max-width:60rem}.verdict{font-size:1.1rem;font-weight:600}.wide{overflow-x:auto;margin:1.2rem 0}
        table{border-collapse:collapse;font-variant-numeric:tabular-nums;white-space:nowrap}th,td{padding:.3rem .9rem .3rem 0;text-align:left}
        th{border-bottom:1px solid;font-weight:600}td{border-bottom:1px solid #8884}
        figure{margin:1.2rem 0}figcaption{margin-bottom:.3rem}img{max-width:100%;height:auto;image-rendering:pixelated}
        .plot{display:inline-block;margin:.5rem 1rem .5rem 0;background:#fff;border-radius:4px}svg{max-width:100%;height:auto;display:block}
        """

    /// The same from top to bottom in pixels.
    package func picture() -> RGBImage {
        let margin = 24, scale = 2
        var blocks: [RGBImage] = [Self.lines([title], scale: 3)]
        if !verdict.isEmpty { blocks.append(Self.lines(verdict.flatMap { Self.wrapped($0, to: 75) }, scale: scale)) }
        blocks.append(Self.grid(table, scale: scale))
        blocks.append(Self.lines(notes.flatMap { Self.wrapped($0, to: 150) }, scale: 1))
        let plots = plots.map { $0.picture(scale: scale) }
        blocks += stride(from: 0, to: plots.count, by: 2).map { Self.beside(Array(plots[$0..<min($0 + 2, plots.count)]), gap: margin) }
        for sheet in sheets { blocks += [Self.lines([sheet.caption], scale: scale), sheet.picture] }
        let width = (blocks.map(\.width).max() ?? 0) + 2 * margin
        let height = blocks.reduce(margin) { $0 + $1.height + margin }
        var page = RGBImage(width: width, height: height, filledWith: (255, 255, 255))
        var y = margin
        for block in blocks {
            page.draw(block, x: margin, y: y)
            y += block.height + margin
        }
        return page
    }

    private static func lines(_ texts: [String], scale: Int) -> RGBImage {
        let step = (RGBImage.letterHeight + 4) * scale
        let width = texts.map { RGBImage.textWidth($0, scale: scale) }.max() ?? 0
        var picture = RGBImage(width: max(width, 1), height: max(texts.count * step, 1), filledWith: (255, 255, 255))
        for (row, text) in texts.enumerated() { picture.draw(text: text, x: 0, y: row * step, scale: scale, colour: (40, 40, 46)) }
        return picture
    }

    private static func wrapped(_ text: String, to count: Int) -> [String] {
        text.split(separator: " ").reduce(into: [""]) { lines, word in
            if lines[lines.count - 1].count + word.count + 1 > count, !lines[lines.count - 1].isEmpty { lines.append("") }
            lines[lines.count - 1] += (lines[lines.count - 1].isEmpty ? "" : " ") + word
        }
    }

    private static func grid(_ rows: [[String]], scale: Int) -> RGBImage {
        let step = (RGBImage.letterHeight + 4) * scale, gap = 3 * RGBImage.letterStep * scale
        let widths = (rows.first ?? []).indices.map { column in rows.map { RGBImage.textWidth($0[column], scale: scale) }.max() ?? 0 }
        var picture = RGBImage(
            width: max(1, widths.reduce(0) { $0 + $1 + gap }), height: max(1, rows.count * step), filledWith: (255, 255, 255))
        for (row, cells) in rows.enumerated() {
            var x = 0
            for (cell, width) in zip(cells, widths) {
                let shade: UInt8 = row == 0 ? 120 : 40
                picture.draw(text: cell, x: x, y: row * step, scale: scale, colour: (shade, shade, shade))
                x += width + gap
            }
        }
        return picture
    }

    private static func beside(_ pictures: [RGBImage], gap: Int) -> RGBImage {
        var row = RGBImage(
            width: pictures.reduce(-gap) { $0 + $1.width + gap }, height: pictures.map(\.height).max() ?? 0, filledWith: (255, 255, 255))
        var x = 0
        for picture in pictures {
            row.draw(picture, x: x, y: 0)
            x += picture.width + gap
        }
        return row
    }
}
