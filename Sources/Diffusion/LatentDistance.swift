import Foundation
import TensorMath

/// Paired peak signal-to-noise ratio of two images' latents.
/// - Returns: in dB; the peak is the range of pixels, or of the first image's own values.
package func peakSignalToNoise(_ a: [Float], _ b: [Float], isPixels: Bool) -> Double {
    let clip = { (value: Float) in isPixels ? min(max(value, -1), 1) : value }
    let peak = isPixels ? 2 : Double((a.max() ?? 0) - (a.min() ?? 0))
    let error = zip(a, b).reduce(0.0) { $0 + Double((clip($1.0) - clip($1.1)) * (clip($1.0) - clip($1.1))) } / Double(a.count)
    return error == 0 ? .infinity : 10 * log10(peak * peak / error)
}

/// The mean of the two middle values.
package func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
}

/// Sum of (a - b)^2.
package func squaredDistance(_ a: Matrix, _ b: Matrix) -> Double {
    a.withSpan { a in
        b.withSpan { b in
            var sum = 0.0
            for i in a.indices {
                let difference = Double(a[i] - b[i])
                sum += difference * difference
            }
            return sum
        }
    }
}
