import Foundation
import TensorMath

/// A sampler of few steps, fitted to the trajectories of one adapter's guided sampling: which times to call the network at, and how
/// the next latent is made of the present one and the predictions of the data by this call and the one before
/// (`DiffFit.md`, "Fitted solver").
package struct FittedSolver: Sendable, Hashable, Codable {
    /// x' = x x + m m + m1 m1, with m the data as this call predicts them and m1 as the call before did.
    package struct Step: Sendable, Hashable, Codable {
        /// t of the network call, in the path's own unit.
        package var time: Double
        package var x, m, m1: Double

        package init(time: Double, x: Double, m: Double, m1: Double) {
            self.time = time
            self.x = x
            self.m = m
            self.m1 = m1
        }

        /// Moves a latent on by the predictions of this call and the one before.
        package func apply(to latent: Matrix, m: Matrix, m1: Matrix) {
            let (a, b, c) = (Float(x), Float(self.m), Float(self.m1))
            latent.withMutableSpan { x in
                m.withSpan { m in
                    m1.withSpan { m1 in
                        for i in x.indices { x[i] = a * x[i] + b * m[i] + c * m1[i] }
                    }
                }
            }
        }
    }

    /// The jump from noise z to the latent of the first call, scale z + shift, where that is not at the path's beginning.
    package struct Start: Sendable, Hashable, Codable {
        package var scale: Double
        /// Per channel.
        package var shift: [Double]

        package init(scale: Double, shift: [Double]) {
            self.scale = scale
            self.shift = shift
        }

        /// - Parameter latent: noise, (C S S), which becomes the first latent.
        package func apply(to latent: Matrix) {
            let plane = latent.count / max(shift.count, 1)
            latent.withMutableSpan { x in
                for i in x.indices { x[i] = Float(scale) * x[i] + Float(shift[i / plane]) }
            }
        }
    }

    package var steps: [Step]
    package var start: Start?

    package init(steps: [Step], start: Start? = nil) {
        self.steps = steps
        self.start = start
    }

    /// What is wrong with it on a path, as a sentence of a file from elsewhere needs it; nil where nothing is.
    package func fault(on path: DiffusionPath) -> String? {
        let times = steps.map(\.time), numbers = steps.flatMap { [$0.time, $0.x, $0.m, $0.m1] } + (start.map { [$0.scale] + $0.shift } ?? [])
        let range = path == .rectifiedFlow ? 0..<1 : 0..<Double(VPSchedule.trainingSteps)
        let rises = zip(times, times.dropFirst()).allSatisfy { path == .rectifiedFlow ? $0 < $1 : $0 > $1 }
        if !(1...VPSchedule.trainingSteps).contains(steps.count) { return "it has \(steps.count) steps" }
        if !numbers.allSatisfy(\.isFinite) { return "not all of its numbers are finite" }
        if !rises || !times.allSatisfy(range.contains) { return "its times do not go from noise to data" }
        if path == .vp, times.contains(where: { $0 != $0.rounded() }) { return "its times are no whole steps" }
        return nil
    }

    /// One update rule per step.
    func rules(_ convention: DiffusionConvention) -> [UpdateRule] {
        steps.map { step in
            var rule = UpdateRule(predictingDataAt: step.time, convention)
            rule.prediction = .init(x: step.x, m: step.m, m1: step.m1)
            return rule
        }
    }
}

/// Weights of data and noise in a latent at one time of a path.
package struct PathLevel: Sendable, Hashable {
    package let data, noise: Double

    package init(data: Double, noise: Double) {
        self.data = data
        self.noise = noise
    }
}

extension DiffusionPath {
    package func level(_ t: Double) -> PathLevel {
        switch self {
        case .rectifiedFlow: return PathLevel(data: t, noise: 1 - t)
        case .vp:
            let abar = VPSchedule.training.alphasCumprod[min(max(Int(t.rounded()), 0), VPSchedule.trainingSteps - 1)]
            return PathLevel(data: abar.squareRoot(), noise: (1 - abar).squareRoot())
        }
    }

    /// The jump from noise to the latent at a later time without a network call, exact where the data are Gaussian with these moments:
    /// in x / data, x' = mean + (x - mean) sqrt((s'^2 + variance) / (s^2 + variance)), s the noise over the data.
    package func analyticStart(from begin: Double, to t: Double, _ moments: Moments) -> FittedSolver.Start {
        let (first, level) = (level(begin), level(t))
        // With both sides times the data's weight, since a linear path begins at noise alone.
        let spread = { (level: PathLevel) in level.noise * level.noise + moments.variance * level.data * level.data }
        let scale = (spread(level) / spread(first)).squareRoot()
        return FittedSolver.Start(scale: scale, shift: moments.mean.map { $0 * (level.data - scale * first.data) })
    }
}

/// Mean of each channel of images, and the variance of all values around these.
package struct Moments: Sendable {
    package let mean: [Double]
    package let variance: Double

    package init(mean: [Double], variance: Double) {
        self.mean = mean
        self.variance = variance
    }

    /// - Parameter images: each (C S S).
    package init(_ images: some Collection<Matrix>, channels: Int) {
        var sums = [Double](repeating: 0, count: channels), squares = sums, count = 0.0
        for image in images {
            let plane = image.count / channels
            count += Double(plane)
            image.withSpan { values in
                for i in values.indices {
                    sums[i / plane] += Double(values[i])
                    squares[i / plane] += Double(values[i]) * Double(values[i])
                }
            }
        }
        mean = sums.map { $0 / count }
        variance = zip(mean, squares).reduce(0) { $0 + $1.1 / count - $1.0 * $1.0 } / Double(channels)
    }
}

extension UpdateRule {
    /// A call at t whose output is read as the data that it predicts.
    /// - Parameter clips: whether those are clamped to -1...1.
    package init(predictingDataAt t: Double, _ convention: DiffusionConvention, clips: Bool = false) {
        switch convention.prediction {
        case .epsilon:
            let level = convention.path.level(t)
            self = .readingNoise(at: t, data: level.data, noise: level.noise)
        case .velocity, .x0: self = .reading(convention.prediction, atLinear: t)
        }
        self.clips = clips
    }

    /// A call at t of a linear path, whose output is the velocity or the data.
    static func reading(_ prediction: Prediction, atLinear t: Double) -> UpdateRule {
        switch prediction {
        case .velocity: UpdateRule(time: t, xToData: 1, outputToData: 1 - t, prediction: .init())
        case .x0, .epsilon: UpdateRule(time: t, xToData: 0, outputToData: 1, prediction: .init())
        }
    }

    /// A call whose output is the noise in a latent of these weights; until told otherwise the next x is the data.
    static func readingNoise(at t: Double, data: Double, noise: Double) -> UpdateRule {
        UpdateRule(time: t, xToData: 1 / data, outputToData: -noise / data, prediction: .init(m: 1))
    }
}
