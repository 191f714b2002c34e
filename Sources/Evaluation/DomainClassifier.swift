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

    package let domains: [Domain]
    private let classifier: FeatureClassifier

    /// - Parameters:
    ///   - features: (n, D), of real images.
    ///   - labels: per image, its domain and its class in that domain.
    package init(_ domains: [Domain], features: Matrix, labels: [(domain: Int, class: Int)]) {
        self.domains = domains
        let first = Self.firstPairs(domains)
        classifier = FeatureClassifier(
            features: features, labels: labels.map { first[$0.domain] + $0.class }, classes: domains.reduce(0) { $0 + $1.classes.count })
    }

    /// The likeliest domain of each image, and the likeliest class of that domain.
    package func predictions(_ features: Matrix) -> [(domain: Int, class: Int)] {
        let probabilities = classifier.probabilities(features), first = Self.firstPairs(domains)
        return (0..<features.rows).map { row in
            let ofClasses = domains.indices.map { domain in domains[domain].classes.indices.map { probabilities[row, first[domain] + $0] } }
            let domain = likeliest(ofClasses.map { $0.reduce(0, +) })
            return (domain, likeliest(ofClasses[domain]))
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
