import Foundation

/// One immutable flat vector over a `TunableLayout`: the absolute values of every bias, gamma and affine norm.
///
/// The base model itself is one of these: its own biases, gammas and norm weights 1, norm biases 0.
package struct TunableVector: Sendable, Hashable {
    package let values: [Float]

    /// The values in layout order; the count must be the layout's.
    package init(_ values: [Float], layout: TunableLayout) {
        precondition(values.count == layout.count, "a vector over this layout has \(layout.count) values, not \(values.count)")
        self.values = values
    }

    /// Gammas and norm weights 1, everything else 0: the base vector before its biases are read.
    package static func neutral(_ layout: TunableLayout) -> TunableVector {
        var values = [Float](repeating: 0, count: layout.count)
        for tensor in layout.tensors where tensor.kind == .gamma || tensor.kind == .normWeight {
            for i in tensor.range { values[i] = 1 }
        }
        return TunableVector(values, layout: layout)
    }
}

/// The class embedding of one domain: a row per class, and the null class last.
package struct ClassTable: Sendable, Hashable {
    /// Class names in row order, without the null class.
    package let names: [String]
    /// Row-major (names.count + 1) x width.
    package let values: [Float]

    package init(names: [String], values: [Float]) {
        precondition(values.count.isMultiple(of: names.count + 1), "a class table has one row per class and the null row")
        self.names = names
        self.values = values
    }

    /// The class of a name, or of one of the comma-separated synonyms that ImageNet's names consist of; of two classes that
    /// share a synonym the later, as in diffusers (`reference/dit.md` section 12).
    package func index(of name: String) -> Int? {
        if let exact = names.firstIndex(of: name) { return exact }
        return names.lastIndex { full in full.split(separator: ",").contains { $0.trimmingCharacters(in: .whitespaces) == name } }
    }

    package var rows: Int { names.count + 1 }
    package var width: Int { values.count / rows }
    /// Row of the null class, used for unguided branches.
    package var nullClass: Int { names.count }
}
