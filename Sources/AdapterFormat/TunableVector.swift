import Foundation

/// One immutable flat vector over a `TunableLayout`: the absolute values of every bias, gamma and affine norm.
///
/// The base model itself is one of these: its own biases, gammas and norm weights 1, norm biases 0.
package struct TunableVector: Sendable, Hashable {
    package let values: [Float]
    /// The layout's pairs, which tell this vector from one over another layout of the same base.
    package let lowRank: LowRank?

    /// The values in layout order; the count must be the layout's.
    package init(_ values: [Float], layout: TunableLayout) {
        precondition(values.count == layout.count, "a vector over this layout has \(layout.count) values, not \(values.count)")
        self.values = values
        lowRank = layout.lowRank
    }

    /// Gammas and norm weights 1, everything else 0: the base vector before its biases are read.
    package static func neutral(_ layout: TunableLayout) -> TunableVector {
        var values = [Float](repeating: 0, count: layout.count)
        for tensor in layout.tensors where tensor.kind == .gamma || tensor.kind == .normWeight {
            for i in tensor.range { values[i] = 1 }
        }
        return TunableVector(values, layout: layout)
    }

    /// The same values over a longer table of the same base: pairs that were not there are zero, and every step has them.
    /// - Parameter steps: how many of these `layout` has one after the other.
    package func extended(to layout: TunableLayout, steps: Int? = nil) -> TunableVector {
        let each = layout.count / (steps ?? 1)
        precondition(values.count <= each, "\(values.count) values do not fit a layout of \(each)")
        let one = values + [Float](repeating: 0, count: each - values.count)
        return TunableVector((0..<(steps ?? 1)).flatMap { _ in one }, layout: layout)
    }
}

/// The class embedding of one domain: a row per class, and the null class last.
///
/// A network that was trained without dropping labels has no null class. Its row is then there all the same, as minus infinity,
/// so that tables have one form everywhere; `hasNullRow` says so, and what would condition on the row is refused.
package struct ClassTable: Sendable, Hashable {
    /// Class names in row order, without the null class.
    package let names: [String]
    /// Row-major (names.count + 1) x width.
    package let values: [Float]

    package init(names: [String], values: [Float]) {
        precondition(values.count.isMultiple(of: names.count + 1), "a class table has one row per class and the null row")
        self.names = names
        let width = values.count / (names.count + 1)
        // One form of absence, whatever sum it went through.
        let isAbsent = values.last.map { !$0.isFinite } ?? false
        self.values = isAbsent ? values.dropLast(width) + [Float](repeating: -.infinity, count: width) : values
    }

    /// The table of a network without a null class: row-major names.count x width.
    package static func withoutNullRow(names: [String], values: [Float], width: Int) -> ClassTable {
        ClassTable(names: names, values: values + [Float](repeating: -.infinity, count: width))
    }

    /// Whether the network knows a class that stands for none, as guidance without a domain needs it.
    package var hasNullRow: Bool { values.last?.isFinite ?? false }

    /// The same table with the mean of its classes in the place of a null row that it lacks.
    package var withMeanForNull: ClassTable {
        guard !hasNullRow, !names.isEmpty else { return self }
        var mean = [Float](repeating: 0, count: width)
        for row in names.indices { for column in 0..<width { mean[column] += values[row * width + column] / Float(names.count) } }
        return ClassTable(names: names, values: values.dropLast(width) + mean)
    }

    /// What a file holds: the rows of the classes, and the null row where there is one.
    package var stored: (shape: [Int], values: [Float]) {
        hasNullRow ? ([rows, width], values) : ([names.count, width], Array(values.dropLast(width)))
    }

    /// The class of a name, or of one of the comma-separated synonyms that ImageNet's names consist of; of two classes that
    /// share a synonym the later, as in diffusers (`DiT.md`, "Pipeline folders").
    package func index(of name: String) -> Int? {
        if let exact = names.firstIndex(of: name) { return exact }
        return names.lastIndex { full in full.split(separator: ",").contains { $0.trimmingCharacters(in: .whitespaces) == name } }
    }

    package var rows: Int { names.count + 1 }
    package var width: Int { values.count / rows }
    /// Row of the null class, used for unguided branches.
    package var nullClass: Int { names.count }
}
