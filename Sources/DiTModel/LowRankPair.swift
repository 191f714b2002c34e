import AdapterFormat
import TensorMath

/// The low-rank pair of one linear layer, kept beside the frozen matrix and never added into it: y = W x + scale B (A x).
package struct LowRankPair: Sendable {
    package let a: Matrix  // (rank, inputs)
    package let b: Matrix  // (outputs, rank)
    package let scale: Float

    /// Columns of the scratch for A x; a larger rank is taken a slice at a time.
    static let sliceRank = Accumulators.largestRank

    /// Forward pass: y += scale B (A x).
    /// - Parameters:
    ///   - x: (rows, inputs).
    ///   - y: (rows, outputs), which holds W x.
    ///   - scratch: at least rows x `sliceRank` values.
    func add(_ x: Matrix, to y: Matrix, scratch: Matrix) {
        forEachSlice { ranks in
            let low = scratch.values(0..<(x.rows * ranks.count)).reshaped(x.rows, ranks.count)
            multiply(.plain(x), .transposed(a.rows(ranks)), into: low)  // (rows, ranks)
            multiply(.plain(low), .transposed(b.columns(ranks)), into: y, scale: scale, adding: true)  // (rows, outputs)
        }
    }

    /// Ranks of which A x is computed once for all panels of a product; those of a larger rank are taken panel by panel.
    var sharedRanks: Range<Int> { 0..<min(a.rows, Self.sliceRank) }

    /// A x of the shared ranks.
    /// - Parameters:
    ///   - x: (rows, inputs), in float32.
    ///   - low: (rows, shared ranks).
    func project(_ x: Matrix, into low: Matrix) { multiply(.plain(x), .transposed(a.rows(sharedRanks)), into: low) }

    /// Forward pass for the accumulators of one panel of a packed product.
    /// - Parameters:
    ///   - low: (rows, shared ranks), A x.
    ///   - x: gives (rows, inputs) in float32, where the rank is larger than the shared ones.
    func added(_ low: Matrix, x: () -> Matrix, to accumulators: Accumulators, scratch: Matrix) -> Accumulators {
        var accumulators = accumulators.adding(low, b.columns(sharedRanks), scale: scale)
        guard a.rows > sharedRanks.count else { return accumulators }
        let x = x()
        forEachSlice(from: sharedRanks.upperBound) { ranks in
            let low = scratch.values(0..<(x.rows * ranks.count)).reshaped(x.rows, ranks.count)
            multiply(.plain(x), .transposed(a.rows(ranks)), into: low)  // (rows, ranks)
            accumulators = accumulators.adding(low, b.columns(ranks), scale: scale)
        }
        return accumulators
    }

    /// Backward pass: dx and the pair's gradients are added to.
    /// - Parameters:
    ///   - dy: (rows, outputs).
    ///   - x: (rows, inputs), as in the forward pass.
    func backward(_ dy: Matrix, x: Matrix, dx: Matrix, gradient: LowRankPair, scratch: Matrix) {
        forEachSlice { ranks in
            let low = scratch.values(0..<(x.rows * ranks.count)).reshaped(x.rows, ranks.count)
            multiply(.plain(x), .transposed(a.rows(ranks)), into: low)
            multiply(.transposed(dy), .plain(low), into: gradient.b.columns(ranks), scale: scale, adding: true)
            multiply(.plain(dy), .plain(b.columns(ranks)), into: low, scale: scale)  // of A x
            multiply(.transposed(low), .plain(x), into: gradient.a.rows(ranks), adding: true)
            multiply(.plain(low), .plain(a.rows(ranks)), into: dx, adding: true)
        }
    }

    private func forEachSlice(from first: Int = 0, _ body: (Range<Int>) -> Void) {
        for start in stride(from: first, to: a.rows, by: Self.sliceRank) { body(start..<min(a.rows, start + Self.sliceRank)) }
    }
}

extension Tunables {
    /// The pairs of one block's linear layers, where the adapter has them.
    static func pairs(_ layout: TunableLayout, block: Int, values: Matrix) -> BlockLayers<LowRankPair?> {
        BlockLayers { linear in
            let names = LowRank.names(of: linear.name(block: block))
            guard let lowRank = layout.lowRank, let a = layout[names.a], let b = layout[names.b] else { return nil }
            return LowRankPair(
                a: values.values(a.range).reshaped(a.shape[0], a.shape[1]), b: values.values(b.range).reshaped(b.shape[0], b.shape[1]),
                scale: lowRank.scale(of: linear.name(block: block)))
        }
    }
}
