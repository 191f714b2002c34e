import Evaluation
import Foundation
import ImageFiles
import Testing

@Suite struct ReportTests {
    private func page() -> ReportPage {
        let plot = Plot(
            title: "error <by> t", xLabel: "t", yLabel: "mse",
            series: [
                Plot.Series("a & b", [Plot.Point(x: 0, y: 1, error: 0.1), Plot.Point(x: 1, y: 2)]), Plot.Series("c", [Plot.Point(x: 0.5, y: 0.25)]),
            ])
        let bars = Plot(title: "bars", series: [Plot.Series("s", [Plot.Point(x: 0, y: 3, error: 1)])], categories: ["flowers"])
        let sheet = ReportPage.Sheet(caption: "rose \"1\"", picture: RGBImage(width: 9, height: 5, filledWith: (200, 10, 10)))
        return ReportPage(title: "Of <flowers>", notes: ["one & two"], table: [["A", "B"], ["1", "<2>"]], plots: [plot, bars], sheets: [sheet])
    }

    @Test func htmlIsOneWellFormedPageWithEverythingInside() throws {
        let html = try page().html()
        #expect(html.contains("<h1>Of &lt;flowers&gt;</h1>"))
        #expect(html.contains("<td>&lt;2&gt;</td>"))
        #expect(html.contains("one &amp; two"))
        #expect(!html.contains("http://") || html.components(separatedBy: "http://").count == html.components(separatedBy: "xmlns=\"http://").count)
        #expect(!html.contains("<script"))
        #expect(!html.contains("url("))
        // Each drawing is well-formed XML of its own.
        for part in html.components(separatedBy: "<svg ").dropFirst() {
            let svg = "<svg " + part.components(separatedBy: "</svg>")[0] + "</svg>"
            #expect(try XMLShape(svg).elements["line", default: 0] > 3)
        }
        let encoded = try #require(html.components(separatedBy: "data:image/png;base64,").last?.components(separatedBy: "\"").first)
        let file = NSTemporaryDirectory() + "sheet-\(UUID().uuidString).png"
        try #require(Data(base64Encoded: encoded)).write(to: URL(filePath: file))
        defer { try? FileManager.default.removeItem(atPath: file) }
        #expect(try RGBImage(contentsOf: file) == page().sheets[0].picture)
    }

    @Test func thePictureHoldsPlotsAndSheets() {
        let picture = page().picture()
        #expect(picture.width > 1120)
        #expect(picture.height > 600)
        let colours = Set(stride(from: 0, to: picture.pixels.count, by: 3).map { [picture.pixels[$0], picture.pixels[$0 + 1], picture.pixels[$0 + 2]] })
        #expect(colours.contains([200, 10, 10]))
        #expect(colours.contains([0, 0x72, 0xb2]))
        #expect(colours.contains([0xd5, 0x5e, 0]))
    }

    @Test func anotherFormIsRefusedInASentence() {
        #expect(throws: EvaluationError.reportForm("a.pdf")) { try page().write(to: "a.pdf") }
        #expect(EvaluationError.reportForm("a.pdf").description == "a report ends in .html or .png, and 'a.pdf' does not")
    }
}

/// The elements of a text that is well-formed XML.
private final class XMLShape {
    var elements: [String: Int] = [:]

    init(_ text: String) throws {
        var open: [String] = []
        for tag in text.components(separatedBy: "<").dropFirst() {
            let body = try #require(tag.components(separatedBy: ">").first)
            let name = body.prefix { $0.isLetter || $0 == "/" }
            if name.hasPrefix("/") {
                #expect(open.popLast() == String(name.dropFirst()))
            } else {
                elements[String(name), default: 0] += 1
                if !body.hasSuffix("/") { open.append(String(name)) }
                #expect(body.components(separatedBy: "\"").count.isMultiple(of: 2) == false)
            }
        }
        #expect(open.isEmpty)
    }
}
