import TensorMath

/// A figure of a sample with the deviation that another sample of this size would give it.
package struct Estimate: Sendable, Hashable, Codable {
    package let value: Double
    /// Deviation over bootstrap resamples.
    package let standardError: Double

    package init(value: Double, standardError: Double) {
        self.value = value
        self.standardError = standardError
    }
}

/// Efron's bootstrap: the sample drawn anew from itself, with replacement, by position: the same seed gives the same resamples.
package struct Bootstrap: Sendable {
    package let resamples: Int
    package let seed: UInt64

    package init(resamples: Int = 100, seed: UInt64 = 0) {
        precondition(resamples > 1)
        self.resamples = resamples
        self.seed = seed
    }

    /// Positions that resample `number` takes of `count` items.
    /// - Parameter set: sets resampled apart from each other have numbers of their own; paired ones share it.
    package func positions(_ number: Int, of count: Int, set: Int = 0) -> [Int] {
        let stream = EvaluationStream.resample(seed: seed, number: number, set: set)
        return (0..<count).map { min(count - 1, Int(Double(stream.uniform(UInt64($0))) * Double(count))) }
    }

    /// The mean of the values.
    package func mean(_ values: [Double]) -> Estimate {
        let means = (0..<resamples).map { number in positions(number, of: values.count).reduce(0) { $0 + values[$1] } / Double(values.count) }
        return Estimate(value: values.reduce(0, +) / Double(max(values.count, 1)), standardError: Self.deviation(means))
    }

    /// Standard deviation with the divisor n - 1.
    package static func deviation(_ values: [Double]) -> Double {
        guard values.count > 1 else { return 0 }
        let mean = values.reduce(0, +) / Double(values.count)
        return (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count - 1)).squareRoot()
    }
}
