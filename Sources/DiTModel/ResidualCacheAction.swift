import TensorMath

/// What becomes of the blocks in one image's pass: a sampling cache runs them at some steps and reuses what they added at others.
package enum ResidualCacheAction: Sendable {
    case run
    /// Run, and write what all blocks together added to the tokens, (T, D).
    case keep(Matrix)
    /// Only embed, add this to the tokens, and go through the final layer.
    case skip(Matrix)
}

extension Matrix {
    /// other = self - other.
    func differ(from other: Matrix) {
        withSpan { a in
            other.withMutableSpan { other in for i in other.indices { other[i] = a[i] - other[i] } }
        }
    }
}
