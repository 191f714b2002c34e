import AdapterFormat
import DiTModel
import Foundation
import TensorMath

/// Reads classes off a network's output: a class's score is the inner product of its code with the output's mean over the tokens.
///
/// The codes are fixed random numbers, nearly at right angles to each other (error-correcting output codes, arXiv cs/9501101): a network
/// of the shape that this package trains needs no layer of its own to tell more classes apart than a token has outputs.
package struct ClassHead: Sendable {
    private let classes, size, patch, channels: Int
    /// (classes, outputs of a token).
    private let codes: Matrix
    /// Share of the wanted class's probability that is spread over all (arXiv 1512.00567).
    private static let smoothing: Float = 0.1

    package init(_ configuration: DiTConfiguration) {
        (classes, size, patch) = (configuration.numClasses, configuration.inputSize, configuration.patchSize)
        channels = configuration.outChannels
        codes = Memory(capacity: Memory.paddedCount(classes * configuration.patchOutSize)).take(classes, configuration.patchOutSize)
        Philox(seed: 0, stream: 0).normals(into: codes)
    }

    /// Values of scratch that one image takes.
    package var scratchCount: Int { codes.columns + classes }

    /// The class of the largest score.
    /// - Parameters:
    ///   - output: (Cout, S, S).
    ///   - scratch: `scratchCount` values.
    package func likeliest(_ output: Matrix, scratch: Matrix) -> Int {
        let scores = scores(output, scratch: scratch).array
        return scores.indices.max { scores[$0] < scores[$1] } ?? 0
    }

    /// Cross-entropy of one image, and `scale` times its gradient at the output.
    package func loss(_ output: Matrix, label: Int, scale: Float, scratch: Matrix, gradient: Matrix) -> Float {
        let scores = scores(output, scratch: scratch), mean = scratch.values(0..<codes.columns), even = Self.smoothing / Float(classes)
        var loss = 0.0
        scores.withMutableSpan { scores in
            var top = -Float.infinity, sum = 0.0
            for k in scores.indices { top = max(top, scores[k]) }
            for k in scores.indices { sum += exp(Double(scores[k] - top)) }
            for k in scores.indices {
                let logarithm = Double(scores[k] - top) - log(sum), wanted = even + (k == label ? 1 - Self.smoothing : 0)
                loss -= Double(wanted) * logarithm
                scores[k] = Float(exp(logarithm)) - wanted
            }
        }
        let tokens = Float(size / patch * (size / patch))
        multiply(.plain(scores), .plain(codes), into: mean, scale: scale / tokens)  // (1, outputs of a token)
        forEachOutput { place, at in gradient[0, place] = mean[0, at] }
        return Float(loss)
    }

    private func scores(_ output: Matrix, scratch: Matrix) -> Matrix {
        let mean = scratch.values(0..<codes.columns), scores = scratch.values(codes.columns..<(codes.columns + classes))
        let share = 1 / Float(size / patch * (size / patch))
        mean.fill(0)
        forEachOutput { place, at in mean[0, at] += share * output[0, place] }
        multiply(.plain(mean), .transposed(codes), into: scores)  // (1, classes)
        return scores
    }

    /// Every value of an output, and which of its token's it is.
    private func forEachOutput(_ body: (_ place: Int, _ at: Int) -> Void) {
        var place = 0
        for channel in 0..<channels {
            for y in 0..<size {
                for x in 0..<size {
                    body(place, (channel * patch + y % patch) * patch + x % patch)
                    place += 1
                }
            }
        }
    }
}
