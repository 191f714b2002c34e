import TensorMath

/// Multi-head self-attention of one image, without its two linear layers.
package enum Attention {
    /// Head `head` of one image: out = softmax(q k^T / sqrt(hd)) v.
    /// - Parameters:
    ///   - qkv: (T, 3D), features q | k | v, inside each the heads in order.
    ///   - out: (T, D).
    ///   - scores: (T, T) scratch; holds the attention weights afterwards.
    static func forward(_ qkv: Matrix, head: Int, heads: Int, scores: Matrix, into out: Matrix) {
        let D = out.columns
        let hd = D / heads
        let at = head * hd
        weights(qkv, head: head, heads: heads, into: scores)
        let v = qkv.columns((2 * D + at)..<(2 * D + at + hd))  // (T, hd)
        multiply(.plain(scores), .plain(v), into: out.columns(at..<(at + hd)))
    }

    private static func weights(_ qkv: Matrix, head: Int, heads: Int, into scores: Matrix) {
        let D = qkv.columns / 3
        let hd = D / heads
        let at = head * hd
        let q = qkv.columns(at..<(at + hd))  // (T, hd)
        let k = qkv.columns((D + at)..<(D + at + hd))  // (T, hd)
        multiply(.plain(q), .transposed(k), into: scores)  // (T, T)
        softmax(scores, alpha: scale(hd))
    }

    /// The backward pass of one head; the attention weights are formed again rather than kept.
    /// - Parameters:
    ///   - dOut: (T, D).
    ///   - dQKV: (T, 3D); the columns of this head are overwritten.
    ///   - scores, dScores: (T, T) scratch.
    static func backward(
        _ dOut: Matrix, qkv: Matrix, head: Int, heads: Int, scores: Matrix, dScores: Matrix, into dQKV: Matrix
    ) {
        let D = dOut.columns
        let hd = D / heads
        let at = head * hd
        let part = { (m: Matrix, third: Int) in m.columns((third * D + at)..<(third * D + at + hd)) }
        let dO = dOut.columns(at..<(at + hd))  // (T, hd)
        weights(qkv, head: head, heads: heads, into: scores)
        multiply(.transposed(scores), .plain(dO), into: part(dQKV, 2))  // dv (T, hd)
        multiply(.plain(dO), .transposed(part(qkv, 2)), into: dScores)  // (T, T)
        softmaxBackward(dScores, p: scores, alpha: scale(hd))
        multiply(.plain(dScores), .plain(part(qkv, 1)), into: part(dQKV, 0))  // dq (T, hd)
        multiply(.transposed(dScores), .plain(part(qkv, 0)), into: part(dQKV, 1))  // dk (T, hd)
    }

    static func scale(_ headDimension: Int) -> Float { 1 / Float(headDimension).squareRoot() }
}
