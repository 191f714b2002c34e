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

/// What an image is drawn away from, by the guidance scale.
public enum GuidanceKind: String, Sendable, CaseIterable {
    /// Against the domain's own null class.
    case cfg
    /// Against the frozen base's null class, which one more slot holds (Domain Guidance, arXiv 2504.01521).
    case domain
    /// Nothing, whatever the scale.
    case none
    /// Nothing at sampling time: a distilled vector that is part of the recipe gives in one row what a guided pair would.
    case distilled
}

/// How strongly an image is drawn to its class, and where on its way.
package struct ImageGuidance: Sendable, Hashable, CustomStringConvertible {
    package var kind: GuidanceKind
    /// 1 is no guidance.
    package var scale: Float
    /// Noise levels, 0 (data) to 1 (noise), between which it is guided; elsewhere it costs no rows (arXiv 2404.07724).
    package var interval: ClosedRange<Double>

    package init(_ kind: GuidanceKind = .cfg, scale: Float, interval: ClosedRange<Double> = 0...1) {
        self.kind = kind
        self.scale = scale
        self.interval = interval
    }

    /// `cfg 3` or `cfg 3 from 0.1 to 0.8`.
    package var description: String {
        let name = kind == .none || scale == 1 ? "none" : "\(kind.rawValue) \(scale)"
        return interval == 0...1 || name == "none" ? name : "\(name) from \(interval.lowerBound) to \(interval.upperBound)"
    }

    /// Whether it compares predictions, as far as its scale is not 1.
    package var isPaired: Bool { kind == .cfg || kind == .domain }

    /// The ends belong to it, in whatever way a step's level was rounded.
    package func acts(at noiseLevel: Double) -> Bool {
        isPaired && scale != 1 && noiseLevel >= interval.lowerBound - 1e-9 && noiseLevel <= interval.upperBound + 1e-9
    }
}
