import TensorFiles

/// How far rounding to bfloat16 moved a set of values.
package struct RoundingError: Sendable, Hashable {
    /// Largest absolute difference.
    package let max: Float
    /// Root of the mean squared difference.
    package let rms: Float

    package init(max: Float, rms: Float) {
        self.max = max
        self.rms = rms
    }
}

extension BFloat16 {
    /// Rounds values for storing as bfloat16; the digest of such an adapter is that of the rounded values.
    package static func round(_ values: [Float]) -> (values: [Float], error: RoundingError) {
        var largest: Float = 0
        var sum = 0.0
        let nearest = values.map(rounded)
        for (value, other) in zip(values, nearest) {
            let difference = Swift.abs(other - value)
            largest = Swift.max(largest, difference)
            sum += Double(difference) * Double(difference)
        }
        let rms = values.isEmpty ? 0 : Float((sum / Double(values.count)).squareRoot())
        return (nearest, RoundingError(max: largest, rms: rms))
    }
}
