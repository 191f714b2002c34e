import AdapterComposer
import AdapterFormat
import AdapterStore
import ArgumentParser
import Foundation
import ImageFiles

struct Diff: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show where two adapters differ, by kind of value and block.",
        discussion: "Example: adapterctl diff flowers art --plot diff.png\n\nEither side may be a recipe, or base.")
    @Argument var a: String
    @Argument var b: String
    @Option(help: "A PNG file to draw the table into, or - for standard output.") var plot: String?
    @Option(help: "The base, where the store has several.") var base: String?
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let a, b: String
        let rows: [AdapterDifference.Row]
        let total: AdapterDifference.Measures
        let commonClasses, equalClasses: Int
    }

    func run() throws {
        try checkOutputs([PlannedOutput(plot, .png)], json: output.json)
        let store = try location.open()
        let recipes = [try Recipe(a), try Recipe(b)]
        // The side that names an adapter says which base is meant.
        let base = try store.baseFile(of: recipes.first { !$0.references.isEmpty } ?? recipes[0], base)
        let sides = try recipes.map { try RecipeStore(store, $0, base: base.digest.description) }
        let difference = try AdapterDifference(try sides[0].adapter(), try sides[1].adapter(), over: sides[0].composing)
        if let plot { try picture(difference, depth: base.configuration.depth).writePNG(to: plot) }
        let result = Result(
            a: sides[0].canonical.text, b: sides[1].canonical.text, rows: difference.rows, total: difference.total,
            commonClasses: difference.commonClasses, equalClasses: difference.equalClasses)
        try output.report("diff", result, outputs: [plot].compactMap { $0 }) {
            let cells = { (m: AdapterDifference.Measures) in
                ["\(m.values)"] + [m.normA, m.normB, m.distance].map { String(format: "%.4f", $0) } + [m.cosine.map { String(format: "%+.3f", $0) } ?? "-"]
            }
            return table(
                [["KIND", "BLOCK", "VALUES", "|A-BASE|", "|B-BASE|", "|A-B|", "COSINE"]]
                    + difference.rows.map { ["\($0.kind.rawValue)", $0.block.map(String.init) ?? "outside"] + cells($0.measures) }
                    + [["all", ""] + cells(difference.total)])
                + "\n\(difference.commonClasses, "class") of one name, \(difference.equalClasses) of them with the same row"
                + (plot.map { "\nwritten to \($0)" } ?? "")
        }
    }

    /// Four maps, kinds by blocks: the two norms and the distance in one scale of brightness, the cosine from blue (-1) to red (1).
    private func picture(_ difference: AdapterDifference, depth: Int) -> RGBImage {
        let cell = 30, height = 24, left = 76, line = RGBImage.letterHeight + 6
        let kinds = TunableKind.allCases.filter { kind in difference.rows.contains { $0.kind == kind } }
        let panel = kinds.count * height + 2 * line + 8
        var page = RGBImage(width: left + (depth + 1) * cell + 8, height: 4 * panel + 4, filledWith: (24, 24, 28))
        let largest = difference.rows.map { max($0.measures.normA, $0.measures.normB, $0.measures.distance) }.max() ?? 0
        let panels: [(String, (AdapterDifference.Measures) -> Double?, Bool)] = [
            ("a - base", { $0.normA }, false), ("b - base", { $0.normB }, false), ("a - b", { $0.distance }, false), ("cosine of both", { $0.cosine }, true),
        ]
        for (index, (title, value, isSigned)) in panels.enumerated() {
            let top = 4 + index * panel
            page.draw(text: title, x: 4, y: top)
            for column in 0...depth { page.draw(text: column == 0 ? "out" : "\(column - 1)", x: left + column * cell + 4, y: top, colour: (150, 150, 160)) }
            for (row, kind) in kinds.enumerated() {
                let y = top + line + row * height
                page.draw(text: kind.rawValue, x: 4, y: y + 7)
                for entry in difference.rows where entry.kind == kind {
                    let x = left + (entry.block.map { $0 + 1 } ?? 0) * cell
                    guard let number = value(entry.measures) else { continue }
                    let share = isSigned ? number : largest > 0 ? number / largest : 0
                    page.draw(RGBImage(width: cell - 2, height: height - 2, filledWith: isSigned ? signed(share) : bright(share)), x: x, y: y)
                    let text = isSigned || number < 10 ? String(format: "%.1f", number) : String(format: "%.0f", number)
                    page.draw(text: text, x: x + 4, y: y + 7, colour: !isSigned && share > 0.6 ? (20, 20, 20) : (235, 235, 235))
                }
            }
        }
        return page
    }

    private func bright(_ share: Double) -> (UInt8, UInt8, UInt8) {
        let s = min(max(share, 0), 1)
        return (UInt8(40 + 215 * s), UInt8(40 + 170 * s), UInt8(60 + 30 * (1 - s)))
    }

    private func signed(_ share: Double) -> (UInt8, UInt8, UInt8) {
        let s = min(max(share, -1), 1)
        return s < 0 ? (50, UInt8(50 + 20 * -s), UInt8(60 + 180 * -s)) : (UInt8(60 + 180 * s), UInt8(50 + 20 * s), 50)
    }
}
