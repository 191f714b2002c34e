import Foundation
import TensorMath

/// Multinomial logistic regression on features: the classes' log odds are affine in the standardised feature.
///
/// Fitted with every row at once from zero, no random number anywhere: the same rows give the same classifier.
package struct FeatureClassifier: Sendable {
    package let classes: Int
    private let mean, inverseDeviation: [Float]
    /// (classes, D + 1), the last column the constant.
    private let weights: Matrix

    /// Pull of the weights towards zero, so that classes that can be told apart entirely have finite weights.
    static let penalty: Float = 1e-3

    /// - Parameters:
    ///   - features: (n, D).
    ///   - labels: the class of each row, from 0.
    package init(features: Matrix, labels: [Int], classes: Int, steps: Int = 800) {
        precondition(features.rows == labels.count && labels.allSatisfy { (0..<classes).contains($0) })
        let statistics = ColumnStatistics(features)
        self.classes = classes
        mean = statistics.mean
        inverseDeviation = statistics.inverseDeviation
        let x = Self.standardised(features, mean, inverseDeviation)  // (n, D + 1)
        let size = classes * x.columns
        let memory = Memory(capacity: 4 * Memory.paddedCount(size) + Memory.paddedCount(labels.count * classes))
        let parts = (0..<4).map { _ in memory.take(classes, x.columns) }
        let (weights, m, v, gradient) = (parts[0], parts[1], parts[2], parts[3])
        let odds = memory.take(labels.count, classes)
        for step in 0..<steps {
            multiply(.plain(x), .transposed(weights), into: odds)
            softmax(odds, alpha: 1)
            for (row, label) in labels.enumerated() { odds[row, label] -= 1 }
            multiply(.transposed(odds), .plain(x), into: gradient)
            gradient.withMutableSpan { for i in $0.indices { $0[i] /= Float(labels.count) } }
            add(weights, scaledBy: Self.penalty, to: gradient)
            let fall = 0.5 * (1 + cos(.pi * Double(step) / Double(steps)))
            adamW(weights, m: m, v: v, g: gradient, step: step + 1, AdamWSettings(learningRate: Float(0.3 * fall), beta2: 0.99))
        }
        self.weights = weights
    }

    /// (n, classes), each row of sum 1.
    package func probabilities(_ features: Matrix) -> Matrix {
        let x = Self.standardised(features, mean, inverseDeviation)
        let odds = Memory(capacity: Memory.paddedCount(x.rows * classes)).take(x.rows, classes)
        multiply(.plain(x), .transposed(weights), into: odds)
        softmax(odds, alpha: 1)
        return odds
    }

    private static func standardised(_ features: Matrix, _ mean: [Float], _ inverseDeviation: [Float]) -> Matrix {
        let D = features.columns
        let x = Memory(capacity: Memory.paddedCount(features.rows * (D + 1))).take(features.rows, D + 1)
        for row in 0..<x.rows {
            for column in 0..<D { x[row, column] = (features[row, column] - mean[column]) * inverseDeviation[column] }
            x[row, D] = 1
        }
        return x
    }
}
