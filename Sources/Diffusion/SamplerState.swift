import Foundation
import TensorMath

/// One image on its way through a plan: the latent, what the sampler remembers, and the image's own random numbers.
/// All memory is taken at the start.
package final class SamplerState {
    package let plan: SamplingPlan
    /// Network calls done.
    package private(set) var position = 0
    /// x, (C S S): what the network is shown next, and the result when `isFinished`.
    package let latent: Matrix
    private let saved, m1, m2, noise: Matrix
    private let stream: Philox
    private let stride: UInt64

    /// - Parameters:
    ///   - count: values of the image.
    ///   - seed, image: image k of a request draws the numbers of (seed, k), whatever the batch (law 6).
    package init(_ plan: SamplingPlan, count: Int, seed: UInt64, image: UInt64) {
        let memory = Memory(capacity: 5 * Memory.paddedCount(count))
        self.plan = plan
        latent = memory.take(count)
        saved = memory.take(count)
        m1 = memory.take(count)
        m2 = memory.take(count)
        noise = memory.take(count)
        stream = Philox(seed: seed, stream: image)
        stride = UInt64(Memory.paddedCount(count))
        stream.normals(into: latent)
        plan.start?.apply(to: latent)
    }

    /// Begins from this noise in place of the image's own.
    package func begin(from noise: [Float]) {
        latent.copy(from: noise)
        plan.start?.apply(to: latent)
    }

    /// The data as the last network call predicted them.
    package var predictedData: Matrix { m1 }
    package var isFinished: Bool { position == plan.evaluations }
    /// What the timestep embedder takes for the next call.
    package var embedderTime: Float { plan.embedderTime(position) }

    /// Takes the network's output at `latent`, guided already, and moves on by one call.
    /// - Parameters:
    ///   - output: (C S S), or (2 C S S) with learned variance.
    ///   - given: noise for this call in place of the image's own.
    package func advance(_ output: Matrix, noise given: Matrix? = nil) {
        let rule = plan.rules[position]
        if rule.drawsNoise {
            if let given { noise.copy(from: given) } else { stream.normals(into: noise, from: UInt64(position + 1) * stride) }
        }
        let isCorrected = rule.correction != nil
        let c = Coefficients(rule.correction ?? .init()), p = Coefficients(rule.prediction)
        let (fromX, fromOutput) = (Float(rule.xToData), Float(rule.outputToData))
        let count = latent.count
        output.withSpan { output in
            latent.withMutableSpan { x in
                saved.withMutableSpan { saved in
                    m1.withMutableSpan { m1 in
                        m2.withMutableSpan { m2 in
                            for i in 0..<count {
                                var m = fromX * x[i] + fromOutput * output[i]
                                if rule.clips { m = min(max(m, -1), 1) }
                                let now = isCorrected ? c.apply(x[i], saved[i], m, m1[i], m2[i]) : x[i]
                                x[i] = p.apply(now, saved[i], m, m1[i], m2[i])
                                if rule.savesLatent { saved[i] = now }
                                m2[i] = m1[i]
                                m1[i] = m
                            }
                        }
                    }
                }
            }
        }
        addNoise(rule.noise, output)
        position += 1
    }

    private func addNoise(_ kind: UpdateRule.Noise, _ output: Matrix) {
        switch kind {
        case .none: break
        case .fixed(let deviation): add(noise, scaledBy: Float(deviation), to: latent)
        case .learned(let least, let most):
            let (least, most, count) = (Float(least), Float(most), latent.count)
            output.withSpan { output in
                noise.withSpan { noise in
                    latent.withMutableSpan { x in
                        for i in 0..<count {
                            let share = (output[count + i] + 1) / 2
                            x[i] += exp((share * most + (1 - share) * least) / 2) * noise[i]
                        }
                    }
                }
            }
        }
    }
}

/// A combination's weights in float32.
private struct Coefficients {
    let x, saved, m, m1, m2: Float

    init(_ combination: UpdateRule.Combination) {
        x = Float(combination.x)
        saved = Float(combination.saved)
        m = Float(combination.m)
        m1 = Float(combination.m1)
        m2 = Float(combination.m2)
    }

    @inline(__always)
    func apply(_ x: Float, _ saved: Float, _ m: Float, _ m1: Float, _ m2: Float) -> Float {
        self.x * x + self.saved * saved + self.m * m + self.m1 * m1 + self.m2 * m2
    }
}
