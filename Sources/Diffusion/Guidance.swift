import TensorMath

/// Classifier-free guidance: u + scale (c - u) on the first values of an output, the rest left as the conditional branch has it.
package enum Guidance {
    /// - Parameters:
    ///   - conditional: (C S S) or (2 C S S), overwritten.
    ///   - unconditional: the same of the null class.
    ///   - guided: values at the front that guidance acts on: three channels as DiT's sample script has it, or all.
    package static func apply(scale: Float, guided: Int, conditional: Matrix, unconditional: Matrix) {
        unconditional.withSpan { u in
            conditional.withMutableSpan { c in
                for i in 0..<guided { c[i] = u[i] + scale * (c[i] - u[i]) }
            }
        }
    }

    /// The weighted sum of predictions, written over the first of them.
    package static func mix(_ predictions: [WeightedPrediction]) {
        guard let first = predictions.first, predictions.count > 1 else { return }
        first.output.withMutableSpan { sum in
            for i in sum.indices { sum[i] *= first.weight }
            for other in predictions.dropFirst() {
                other.output.withSpan { values in for i in sum.indices { sum[i] += other.weight * values[i] } }
            }
        }
    }
}

/// A prediction of the network and its share of a sum.
package struct WeightedPrediction {
    package let weight: Float
    package let output: Matrix

    package init(weight: Float, output: Matrix) {
        self.weight = weight
        self.output = output
    }
}
