import ImageFiles
import SyntheticDomains
import Testing

@Suite struct SyntheticDomainsTests {
    @Test func eightDomainsOfAtLeastFiveClassesWithNamesOfTheirOwn() {
        #expect(SyntheticDomain.downstream.map(\.name) == ["food", "scenes", "fungi", "objects", "birds", "art", "flowers", "cars"])
        for domain in SyntheticDomain.downstream {
            #expect(domain.classes.count >= 5)
            #expect(Set(domain.classes).count == domain.classes.count)
            #expect(SyntheticDomain.named(domain.name)?.name == domain.name)
        }
        #expect(SyntheticDomain.named("paintings") == nil)
    }

    @Test func aPictureIsAFunctionOfDomainClassIndexAndSeed() {
        for domain in [SyntheticDomain.base] + SyntheticDomain.downstream {
            let image = domain.image(class: 1, index: 5, size: 16, seed: 9)
            #expect(image == domain.image(class: 1, index: 5, size: 16, seed: 9))
            #expect(image != domain.image(class: 1, index: 6, size: 16, seed: 9))
            #expect(image != domain.image(class: 1, index: 5, size: 16, seed: 10))
            #expect(image.width == 16)
            #expect(image.height == 16)
        }
    }

    /// A picture nobody has seen is nearest to the mean of its own class, far above chance: classes are told apart by sight.
    @Test(arguments: SyntheticDomain.downstream.map(\.name))
    func classesAreToldApart(name: String) throws {
        let domain = try #require(SyntheticDomain.named(name))
        func pixels(_ label: Int, _ index: Int) -> [Float] { domain.image(class: label, index: index, size: 8, seed: 1).pixels.map(Float.init) }
        let means = domain.classes.indices.map { label -> [Float] in
            (0..<12).reduce([Float](repeating: 0, count: 192)) { sum, index in zip(sum, pixels(label, index)).map { $0 + $1 / 12 } }
        }
        var right = 0
        for label in domain.classes.indices {
            for index in 100..<108 {
                let image = pixels(label, index)
                let distances = means.map { mean in zip(mean, image).reduce(Float(0)) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } }
                if distances.firstIndex(of: distances.min() ?? 0) == label { right += 1 }
            }
        }
        let share = Double(right) / Double(8 * domain.classes.count)
        #expect(share > 0.6, "\(name): \(share)")
    }
}
