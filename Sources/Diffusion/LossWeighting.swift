/// Weight of the squared error over time; a learned-variance term is never weighted.
///
/// Min-SNR-gamma (arXiv 2303.09556): min(SNR, g) on the error of x0, and what that makes of the error of another prediction.
/// The soft form g SNR / (g + SNR) is the Hourglass DiT's (arXiv 2401.11605).
package enum LossWeighting: Sendable, Hashable, CustomStringConvertible {
    case constant
    case minSNR(Double)
    case softMinSNR(Double)

    /// Reads 'constant', 'min-snr:5', 'soft-min-snr:4'.
    package init(_ text: String) throws(DiffusionError) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        if text == "constant" {
            self = .constant
            return
        }
        guard parts.count == 2, let gamma = Double(parts[1]), gamma > 0 else { throw .lossWeighting(text) }
        switch parts[0] {
        case "min-snr": self = .minSNR(gamma)
        case "soft-min-snr": self = .softMinSNR(gamma)
        default: throw .lossWeighting(text)
        }
    }

    package var description: String {
        switch self {
        case .constant: "constant"
        case .minSNR(let gamma): "min-snr:\(gamma.formatted)"
        case .softMinSNR(let gamma): "soft-min-snr:\(gamma.formatted)"
        }
    }

    /// Weight on the squared error of epsilon: that of x0 over SNR. An infinite gamma leaves exactly 1.
    package func onEpsilon(snr: Double) -> Double {
        switch self {
        case .constant: 1
        case .minSNR(let gamma): min(1, gamma / snr)
        case .softMinSNR(let gamma): 1 / (1 + snr / gamma)
        }
    }

    /// Weight on the squared error of the velocity of rectified flow, which is that of x0 over noiseScale^2 with noiseScale = 1 - t.
    ///
    /// - Parameter divisor: what the error of x0 was divided by, noiseScale or its clamped value.
    package func onVelocity(t: Double, divisor: Double) -> Double {
        let ratio = t / (1 - t)
        return switch self {
        case .constant: 1
        case .minSNR(let gamma): min(ratio * ratio, gamma) * divisor * divisor
        case .softMinSNR(let gamma): divisor * divisor / (1 / gamma + 1 / (ratio * ratio))
        }
    }
}

extension Double {
    /// 5 rather than 5.0.
    fileprivate var formatted: String { Int(exactly: self).map(String.init) ?? String(self) }
}
