import AdapterFormat
import TensorMath

/// The memory of one training pass: taken once, used again for every step.
package struct Pass: Sendable {
    package let shape: PassShape
    package let activations: Activations
    let scratch: BackwardScratch
    private let routedShape: PassShape
    private let memory: Memory

    /// A pass for each count of images from 1 to `images`, all over the memory of the largest.
    /// - Parameter route: middle blocks that only a part of the tokens goes through.
    package static func views(
        _ model: DiT, upTo images: Int, saved: SavedActivations, route: TokenRoute? = nil
    ) -> [Pass] {
        let memory = Memory(capacity: capacity(model, images: images, saved: saved, route: route))
        return (1...images).map { Pass(model, images: $0, saved: saved, route: route, memory: Memory(sharing: memory)) }
    }

    private init(_ model: DiT, images: Int, saved: SavedActivations, route: TokenRoute?, memory: Memory) {
        let shape = PassShape(model.configuration, images: images, preset: model.preset)
        self.shape = shape
        routedShape = route.map { shape.keeping(tokens: $0.kept) } ?? shape
        activations = Activations(model, images: images, saved: saved, route: route, take: memory.take)
        scratch = BackwardScratch(model.configuration, images: images, take: memory.take)
        self.memory = memory
    }

    private static func capacity(_ model: DiT, images: Int, saved: SavedActivations, route: TokenRoute?) -> Int {
        var capacity = 0
        // Nothing is written: the memory is only as long as the views' bounds ask.
        let unwritten = Memory(capacity: 0)
        let count = { (rows: Int, columns: Int) -> Matrix in
            capacity += Memory.paddedCount(rows * columns)
            return Matrix(shapeOnly: rows, columns, of: unwritten)
        }
        _ = Activations(model, images: images, saved: saved, route: route, take: count)
        _ = BackwardScratch(model.configuration, images: images, take: count)
        return capacity
    }

    private func isRouted(_ block: Int) -> Bool { activations.route?.blocks.contains(block) ?? false }

    func shape(ofBlock i: Int) -> PassShape { isRouted(i) ? routedShape : shape }

    func scores(ofBlock i: Int) -> Matrix { isRouted(i) ? activations.scores.square(routedShape.tokens) : activations.scores }

    func scratch(ofBlock i: Int) -> BackwardScratch {
        guard let routed = activations.routed, isRouted(i) else { return scratch }
        return scratch.routed(dx: routed.dx, tokens: routedShape.tokens)
    }

    /// Bytes of the plan.
    package var bytes: Int { memory.capacity * 4 }
}
