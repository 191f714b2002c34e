import Foundation
import TensorMath

/// Tells domains and their classes apart by frozen features: one classifier over every (domain, class) pair; a domain's probability is
/// that of its classes together.
package struct DomainClassifier: Sendable {
    package struct Domain: Sendable, Hashable {
        package let name: String
        package let classes: [String]

        package init(name: String, classes: [String]) {
            self.name = name
            self.classes = classes
        }
    }

    /// Positions of an image's domain, and of its class in that domain.
    package struct Label: Sendable, Hashable {
        package let domain, `class`: Int

        package init(domain: Int, class: Int) { (self.domain, self.class) = (domain, `class`) }
    }

    package let domains: [Domain]
    private let classifier: FeatureClassifier

    /// - Parameters:
    ///   - features: (n, D), of real images.
    ///   - labels: per image.
    package init(_ domains: [Domain], features: Matrix, labels: [Label]) {
        self.domains = domains
        let first = Self.firstPairs(domains)
        classifier = FeatureClassifier(
            features: features, labels: labels.map { first[$0.domain] + $0.class }, classes: domains.reduce(0) { $0 + $1.classes.count })
    }

    /// The likeliest domain of each image, and the likeliest class of that domain.
    package func predictions(_ features: Matrix) -> [Label] {
        let probabilities = classifier.probabilities(features), first = Self.firstPairs(domains)
        return (0..<features.rows).map { row in
            let ofClasses = domains.indices.map { domain in domains[domain].classes.indices.map { probabilities[row, first[domain] + $0] } }
            let domain = likeliest(ofClasses.map { $0.reduce(0, +) })
            return Label(domain: domain, class: likeliest(ofClasses[domain]))
        }
    }

    /// - Parameters:
    ///   - wanted: position of the domain where the images ought to belong.
    ///   - classes: the class that each was asked for; nil leaves classes out of the count.
    package func agreement(_ features: Matrix, domain wanted: Int, classes: [String]?, bootstrap: Bootstrap) -> DomainAgreement {
        let found = predictions(features)
        let rightDomain = found.map { $0.domain == wanted ? 1.0 : 0 }
        let rightClass = classes.map { classes in
            zip(found, classes).map { $0.domain == wanted && domains[wanted].classes[$0.class] == $1 ? 1.0 : 0 }
        }
        return DomainAgreement(domain: bootstrap.mean(rightDomain), class: rightClass.map(bootstrap.mean))
    }

    private static func firstPairs(_ domains: [Domain]) -> [Int] {
        var next = 0
        return domains.map { domain in
            defer { next += domain.classes.count }
            return next
        }
    }

    private func likeliest(_ values: [Float]) -> Int { values.indices.max { values[$0] < values[$1] } ?? 0 }
}

/// Shares of images that the classifier gives the right domain, and the right domain and class.
package struct DomainAgreement: Sendable, Hashable, Codable {
    package let domain: Estimate
    /// nil where no class was asked for that the domain has.
    package let `class`: Estimate?
}

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
