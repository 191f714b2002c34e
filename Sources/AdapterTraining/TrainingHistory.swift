/// What a run has shown of itself so far.
package struct TrainingHistory: Sendable, Hashable {
    /// One look at the held-out images.
    package struct Look: Sendable, Hashable {
        /// Steps done.
        package let step: Int
        package let error: Float
    }
    /// Mean loss of every step done, weighted as the run weights it.
    package internal(set) var losses: [Float] = []
    /// Norm of every step's gradient before it was clipped.
    package internal(set) var gradientNorms: [Float] = []
    package internal(set) var heldOut: [Look] = []

    /// Mean training loss over the last tenth of the steps done.
    package var recentLoss: Float { mean(of: losses.suffix(max(1, losses.count / 10))) }

    /// Mean loss of up to `count` stretches of equal length, for curves.
    package func smoothed(_ count: Int) -> [Float] {
        guard !losses.isEmpty, count > 0 else { return [] }
        let parts = min(count, losses.count)
        return (0..<parts).map { mean(of: losses[($0 * losses.count / parts)..<(($0 + 1) * losses.count / parts)]) }
    }

    private func mean(of values: ArraySlice<Float>) -> Float { values.reduce(0, +) / Float(max(values.count, 1)) }
}

