import TensorMath

/// What becomes of the blocks in one image's pass: a sampling cache runs them at some steps and reuses what they added at others.
package enum BlockStack: Sendable {
    case run
    /// Run, and write what all blocks together added to the tokens, (T, D).
    case keep(Matrix)
    /// Only embed, add this to the tokens, and go through the final layer.
    case skip(Matrix)
}

extension Matrix {
    /// out = self + other, all of one count.
    func sum(with other: Matrix, into out: Matrix) {
        withSpan { a in
            other.withSpan { b in
                out.withMutableSpan { out in for i in out.indices { out[i] = a[i] + b[i] } }
            }
        }
    }

    /// other = self - other.
    func differ(from other: Matrix) {
        withSpan { a in
            other.withMutableSpan { other in for i in other.indices { other[i] = a[i] - other[i] } }
        }
    }
}
