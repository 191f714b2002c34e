import TensorMath

/// Routing of a part of the tokens around middle blocks while training (TREAD, arXiv 2501.04765): those blocks see `kept` tokens
/// of each image; the others pass by unchanged and are put back in their places behind them. No parameter is added.
package struct TokenRoute: Sendable, Hashable {
    /// The blocks that only the kept tokens go through.
    package let blocks: Range<Int>
    /// Tokens of an image that go through them.
    package let kept: Int

    package init(blocks: Range<Int>, kept: Int) {
        precondition(!blocks.isEmpty && kept > 0, "a route around blocks \(blocks) that keeps \(kept) tokens")
        self.blocks = blocks
        self.kept = kept
    }

    /// The kept rows of each image's tokens, one image after the other.
    /// - Parameters:
    ///   - tokens: (images T, D).
    ///   - indices: kept tokens per image, ascending.
    ///   - part: (images kept, D).
    func gather(_ tokens: Matrix, _ indices: [[Int]], into part: Matrix) {
        forEachKept(indices, of: tokens) { full, short in part.row(short).copy(from: tokens.row(full)) }
    }

    /// Puts the kept rows back among all: the transpose of `gather`.
    func scatter(_ part: Matrix, _ indices: [[Int]], into tokens: Matrix) {
        forEachKept(indices, of: tokens) { full, short in tokens.row(full).copy(from: part.row(short)) }
    }

    private func forEachKept(_ indices: [[Int]], of tokens: Matrix, _ body: (_ full: Int, _ short: Int) -> Void) {
        let T = tokens.rows / indices.count
        for (image, list) in indices.enumerated() {
            precondition(list.count == kept, "\(list.count) tokens where \(kept) are kept")
            for (place, token) in list.enumerated() { body(image * T + token, image * kept + place) }
        }
    }
}

/// Memory of a route: the tokens on both sides of it.
struct RouteActivations: Sendable {
    /// All tokens as they enter the first routed block.
    let full: Matrix  // (R, D)
    /// The kept ones as they leave the last.
    let out: Matrix  // (R', D)
    /// Their gradient.
    let dx: Matrix  // (R', D)
}

extension BackwardScratch {
    /// The same memory for the fewer rows of a routed block, with a gradient of their own.
    func routed(dx: Matrix, tokens: Int) -> BackwardScratch {
        let rows = 0..<dx.rows
        return BackwardScratch(
            dx: dx, dBranch: dBranch.rows(rows), dNormed: dNormed.rows(rows), dQKV: dQKV.rows(rows), dHidden: dHidden.rows(rows),
            dPatchesOut: dPatchesOut, dScores: dScores.square(tokens), dScale: dScale, dShift: dShift, dFactor: dFactor)
    }
}

extension Matrix {
    /// The first values as a matrix of this side.
    func square(_ side: Int) -> Matrix { values(0..<(side * side)).reshaped(side, side) }
}
