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

/// bfloat16: the upper half of a float32.
package enum BFloat16 {
    /// The nearest bfloat16 value, ties to even; NaN stays NaN, and values beyond the range become infinite.
    @inline(__always)
    package static func round(_ value: Float) -> Float {
        let bits = value.bitPattern
        if value.isNaN { return Float(bitPattern: (bits | 0x0040_0000) & 0xFFFF_0000) }
        return Float(bitPattern: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) & 0xFFFF_0000)
    }

    /// Rounds values for storing as bfloat16; the digest of such an adapter is that of the rounded values.
    package static func round(_ values: [Float]) -> (values: [Float], error: RoundingError) {
        var largest: Float = 0
        var sum = 0.0
        let rounded = values.map(round)
        for (value, nearest) in zip(values, rounded) {
            let difference = Swift.abs(nearest - value)
            largest = Swift.max(largest, difference)
            sum += Double(difference) * Double(difference)
        }
        let rms = values.isEmpty ? 0 : Float((sum / Double(values.count)).squareRoot())
        return (rounded, RoundingError(max: largest, rms: rms))
    }
}
