import AdapterFormat
import Foundation
import TensorMath

/// A class as a request asks for it: a row of a table, or a blend of rows, which is made only on demand.
package struct ClassChoice: Sendable, Hashable {
    /// A row of the table and its weight.
    package struct WeightedRow: Sendable, Hashable {
        package let weight: Double
        package let row: Int
    }

    /// At least one.
    package let rows: [WeightedRow]

    /// Reads `rose`, `flowers/rose`, `class:3`, `3` where no class has that name, `null`, or a blend:
    /// `0.5*flowers/rose+0.5*art/portrait`. A class whose name holds a blank beside a sign or a star can be blended as `class:3`.
    /// - Parameter domain: the name of an adapter whose classes have no domain in their names.
    package init(_ text: String, in classes: ClassTable, domain: String) throws(ComposerError) {
        if let row = try Self.row(text, classes, domain) {
            rows = [WeightedRow(weight: 1, row: row)]
            return
        }
        let terms = Self.terms(text)
        guard terms.count > 1 || terms.first?.weight != nil else { throw .unknownClass(text: text, among: classes.names) }
        var weights: [Int: [Double]] = [:]
        for term in terms {
            guard let row = try Self.row(term.name, classes, domain) else { throw .unknownClass(text: term.name, among: classes.names) }
            guard let weight = term.weight.map(Double.init) ?? 1, weight.isFinite, abs(weight) <= 1000 else {
                throw .badClassWeight(text: text, part: term.weight ?? "")
            }
            weights[row, default: []].append(term.isNegative ? -weight : weight)
        }
        rows = weights.sorted { $0.key < $1.key }.map { WeightedRow(weight: $0.value.sorted().reduce(0, +), row: $0.key) }
    }

    private init(rows: [WeightedRow]) { self.rows = rows }

    /// The null class.
    package static func null(of classes: ClassTable) -> ClassChoice { ClassChoice(rows: [WeightedRow(weight: 1, row: classes.nullClass)]) }

    /// The same class so much closer to the base's null class.
    package func scaled(by strength: Double) -> ClassChoice {
        strength == 1 ? self : ClassChoice(rows: rows.map { WeightedRow(weight: $0.weight * strength, row: $0.row) })
    }

    /// The one row that it is, where it is one in full.
    package var onlyRow: Int? { rows.count == 1 && rows[0].weight == 1 ? rows[0].row : nil }

    package func text(in classes: ClassTable) -> String {
        let name = { (row: Int) in row < classes.names.count ? classes.names[row] : "null" }
        if let onlyRow { return name(onlyRow) }
        return rows.map { "\(shortest($0.weight))*\(name($0.row))" }.joined(separator: "+")
    }

    /// The row that the network takes: the base's null row and the weighted differences from it.
    package func values(in classes: ClassTable, null: ArraySlice<Float>) -> [Float] {
        var values = Array(null)
        let sources = rows.map { WeightedValues($0.weight, Array(classes.row($0.row))) }
        addWeighted(sources, to: &values, values.indices)
        return values
    }

    /// The one row of that name; nil where there is none.
    private static func row(_ text: String, _ classes: ClassTable, _ domain: String) throws(ComposerError) -> Int? {
        if let row = classes.index(of: text) { return row }
        let short = classes.names.indices.filter { classes.names[$0].hasSuffix("/\(text)") }
        if short.count > 1 { throw .ambiguousClass(text: text, matches: short.map { classes.names[$0] }) }
        if let row = short.first { return row }
        if text.hasPrefix(domain + "/"), let row = classes.index(of: String(text.dropFirst(domain.count + 1))) { return row }
        // A number is a row only where no class has that name.
        let number = text.hasPrefix("class:") ? text.dropFirst("class:".count) : text[...]
        if number.allSatisfy(\.isNumber), let row = Int(number), classes.names.indices.contains(row) { return row }
        return text == "null" && classes.hasNullRow ? classes.nullClass : nil
    }

    private struct Term {
        var isNegative = false
        var weight: String?
        var name = ""
    }

    /// Cut at signs that stand at the front or follow a name; a minus inside a name needs a blank before it to be one.
    private static func terms(_ text: String) -> [Term] {
        var terms = [Term()]
        var piece = "", isBlank = true
        func take() -> String {
            defer { (piece, isBlank) = ("", true) }
            return piece.trimmingCharacters(in: .whitespaces)
        }
        for character in text {
            if character == "+" || (character == "-" && (piece.isEmpty || piece.last == " ")) {
                if !isBlank || terms[terms.count - 1].weight != nil {
                    terms[terms.count - 1].name = take()
                    terms.append(Term())
                }
                if character == "-" { terms[terms.count - 1].isNegative.toggle() }
            } else if character == "*", terms[terms.count - 1].weight == nil {
                terms[terms.count - 1].weight = take()
            } else {
                piece.append(character)
                isBlank = isBlank && character.isWhitespace
            }
        }
        terms[terms.count - 1].name = take()
        return terms
    }
}
