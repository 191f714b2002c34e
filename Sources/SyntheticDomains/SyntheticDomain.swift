import ImageFiles

/// A small drawn data set: named classes, and for each any number of pictures, each a pure function of
/// (domain, class, index, seed). Drawn with four samples per pixel and direction, then reduced.
package struct SyntheticDomain: Sendable {
    /// One class: its name and how it is drawn.
    struct Class: Sendable {
        let name: String
        let draw: @Sendable (inout Drawing) -> Void

        init(_ name: String, _ draw: @escaping @Sendable (inout Drawing) -> Void) { (self.name, self.draw) = (name, draw) }
    }

    package let name: String
    package var classes: [String] { drawn.map(\.name) }
    private let drawn: [Class]

    init(_ name: String, _ classes: [Class]) { (self.name, drawn) = (name, classes) }

    /// Picture number `index` of a class, `size` pixels square.
    package func image(class classIndex: Int, index: Int, size: Int, seed: UInt64) -> RGBImage {
        var drawing = Drawing(
            canvas: Canvas(size: size), dice: Dice(domain: name, class: classIndex, index: index, seed: seed))
        drawn[classIndex].draw(&drawing)
        return drawing.canvas.image()
    }

    /// The mixture of parts that the shipped base is trained on.
    package static let base = mixture

    /// The eight shipped domains, after the paper's eight.
    package static let downstream = [food, scenes, fungi, objects, birds, art, flowers, cars]

    /// The domain or the base mixture by its name; nil when there is none.
    package static func named(_ name: String) -> SyntheticDomain? {
        ([base] + downstream).first { $0.name == name }
    }
}
