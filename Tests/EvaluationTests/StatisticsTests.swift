import Evaluation
import Foundation
import GoldenFiles
import ImageFiles
import TensorMath
import Testing

func matrix(_ rows: Int, _ columns: Int, _ value: (_ row: Int, _ column: Int) -> Float) -> Matrix {
    let matrix = Memory(capacity: rows * columns + 16).take(rows, columns)
    for row in 0..<rows { for column in 0..<columns { matrix[row, column] = value(row, column) } }
    return matrix
}

func normals(_ rows: Int, _ columns: Int, stream: UInt64) -> Matrix {
    let matrix = Memory(capacity: rows * columns + 16).take(rows, columns)
    Philox(seed: 7, stream: stream).normals(into: matrix)
    return matrix
}

@Suite struct SymmetricMatrixTests {
    /// [[4, 2, 0], [2, 5, 1], [0, 1, 3]] (1, -2, 3) = (0, -5, 7); two equal columns have no one solution.
    @Test func linearEquations() throws {
        let a = SymmetricMatrix(order: 3, values: [4, 2, 0, 2, 5, 1, 0, 1, 3])
        let x = try #require(a.solution([0, -5, 7]))
        #expect(zip(x, [1.0, -2, 3]).allSatisfy { abs($0 - $1) < 1e-14 })
        #expect(SymmetricMatrix(order: 2, values: [1, 1, 1, 1]).solution([1, 2]) == nil)
        let ridged = try #require(SymmetricMatrix(order: 2, values: [1, 1, 1, 1]).addingToDiagonal(1).solution([1, 2]))
        #expect(zip(ridged, [0.0, 1]).allSatisfy { abs($0 - $1) < 1e-14 })
    }

    @Test func theRootOfAKnownMatrix() {
        // [[2, 1], [1, 2]]: eigenvalues 1 and 3, root [[(1 + r3) / 2, (r3 - 1) / 2], ...].
        let m = SymmetricMatrix(order: 2, values: [2, 1, 1, 2])
        #expect(zip(m.eigenvalues, [1, 3]).allSatisfy { abs($0 - $1) < 1e-14 })
        let r3 = 3.0.squareRoot()
        #expect(zip(m.squareRoot.values, [(1 + r3) / 2, (r3 - 1) / 2, (r3 - 1) / 2, (1 + r3) / 2]).allSatisfy { abs($0 - $1) < 1e-14 })
    }

    @Test func theRootSquaredIsTheMatrix() {
        let x = (0..<(40 * 12)).map { Double(Philox(seed: 1, stream: 1).normal(UInt64($0))) }
        let m = SymmetricMatrix(gramOf: x, order: 12)
        let root = m.squareRoot, identity = SymmetricMatrix(order: 12, values: (0..<144).map { $0 % 13 == 0 ? 1 : 0 })
        #expect(zip(identity.between(root).values, m.values).allSatisfy { abs($0 - $1) < 1e-10 })
        #expect(abs(m.trace - m.eigenvalues.reduce(0, +)) < 1e-10)
    }
}

@Suite struct FrechetTests {
    @Test func twoGaussiansWithCommonAxes() {
        // |m1 - m2|^2 + sum of (s1 - s2)^2: 3^2 + (2 - 1)^2 + (1 - 3)^2.
        let a = GaussianStatistics(mean: [0, 0], covariance: SymmetricMatrix(order: 2, values: [4, 0, 0, 1]))
        let b = GaussianStatistics(mean: [3, 0], covariance: SymmetricMatrix(order: 2, values: [1, 0, 0, 9]))
        #expect(abs(a.squaredFrechetDistance(to: b) - 14) < 1e-12)
        #expect(abs(b.squaredFrechetDistance(to: a) - 14) < 1e-12)
        #expect(a.squaredFrechetDistance(to: a) < 1e-12)
    }

    @Test func twoGaussiansTurnedAgainstEachOther() {
        // diag(4, 1) and the same turned by 45 degrees: tr((C1 C2)^1/2) = (tr C1C2 + 2 (det C1C2)^1/2)^1/2 in two dimensions,
        // with C2 = [[2.5, 1.5], [1.5, 2.5]]: tr C1C2 = 12.5, det = 16.
        let a = GaussianStatistics(mean: [0, 0], covariance: SymmetricMatrix(order: 2, values: [4, 0, 0, 1]))
        let b = GaussianStatistics(mean: [0, 0], covariance: SymmetricMatrix(order: 2, values: [2.5, 1.5, 1.5, 2.5]))
        #expect(abs(a.squaredFrechetDistance(to: b) - (10 - 2 * 20.5.squareRoot())) < 1e-12)
    }

    @Test func agreesWithScipy() throws {
        let golden = try Golden("evaluation")
        let (a, b) = (golden.matrix("a", rows: 60), golden.matrix("b", rows: 45))
        let statistics = GaussianStatistics(a)
        #expect(relativeError(statistics.mean.map(Float.init), golden["mean"]) < 1e-5)
        #expect(relativeError(statistics.covariance.values.map(Float.init), golden["covariance"]) < 1e-6)
        let other = GaussianStatistics(b)
        #expect(relativeError([Float(statistics.squaredFrechetDistance(to: other))], golden["frechet"]) < 1e-6)
        let few = GaussianStatistics(a.rows(0..<5))
        // sqrtm of a singular product is good to about the root of the rounding.
        #expect(relativeError([Float(few.squaredFrechetDistance(to: other))], golden["frechet_singular"]) < 1e-5)
    }

    @Test func figuresOfSeveralSamplesComeInPairsAndAgain() {
        let pool = ThreadPool(threads: 2)
        let reference = normals(400, 4, stream: 1), near = normals(200, 4, stream: 2)
        let far = matrix(200, 4) { near[$0, $1] + 0.5 }
        let bootstrap = Bootstrap(resamples: 40)
        let figures = FrechetFigure.measure(reference: reference, samples: [near, far, near], bootstrap: bootstrap, pool: pool)
        #expect(figures == FrechetFigure.measure(reference: reference, samples: [near, far, near], bootstrap: bootstrap, pool: ThreadPool(threads: 1)))
        #expect(figures[0].change == nil)
        #expect(figures[0].images == 200)
        #expect(figures[0].referenceImages == 400)
        #expect(figures[2].change == Estimate(value: 0, standardError: 0))
        // Four shifts of a half: the distance grows by about 1, known to a tenth or so.
        guard let change = figures[1].change else { Issue.record("no change"); return }
        #expect(abs(change.value - 1) < 4 * change.standardError)
        #expect(change.standardError < 0.3)
        #expect(change.standardError > 0.01)
        #expect(figures[0].distance.value > 0)
        #expect(figures[0].distance.value < 0.2)
        // Units do not matter.
        func inOtherUnits(_ m: Matrix) -> Matrix { matrix(m.rows, 4) { m[$0, $1] * [1000, 1, 0.5, 4][$1] } }
        let again = FrechetFigure.measure(
            reference: inOtherUnits(reference), samples: [inOtherUnits(near), inOtherUnits(far)], bootstrap: bootstrap, pool: pool)
        #expect(abs(again[1].distance.value - figures[1].distance.value) < 1e-4)
    }
}

@Suite struct BootstrapTests {
    @Test func theErrorOfAMeanIsTheDeviationOverTheRoot() {
        let values = (0..<400).map { Double(Philox(seed: 3, stream: 1).normal(UInt64($0))) }
        let estimate = Bootstrap(resamples: 400).mean(values)
        #expect(abs(estimate.value - values.reduce(0, +) / 400) < 1e-12)
        #expect(abs(estimate.standardError / (Bootstrap.deviation(values) / 20) - 1) < 0.15)
        #expect(estimate == Bootstrap(resamples: 400).mean(values))
        #expect(estimate != Bootstrap(resamples: 400, seed: 1).mean(values))
        #expect(Bootstrap().mean([2, 2, 2]) == Estimate(value: 2, standardError: 0))
    }

    @Test func aResampleTakesAboutTwoThirdsOfTheItems() {
        let positions = Bootstrap().positions(3, of: 1000)
        #expect(positions.count == 1000)
        #expect(positions.allSatisfy { (0..<1000).contains($0) })
        #expect((600...665).contains(Set(positions).count))  // 1 - 1/e of them
        #expect(positions != Bootstrap().positions(4, of: 1000))
        #expect(positions != Bootstrap().positions(3, of: 1000, set: 1))
    }
}

@Suite struct ClassifierTests {
    @Test func agreesWithScipysLogisticRegression() throws {
        let golden = try Golden("evaluation")
        let rows = golden.matrix("rows", rows: 60)
        let classifier = FeatureClassifier(features: rows, labels: golden["labels"].map { Int($0) }, classes: 3)
        let (ours, theirs) = (classifier.probabilities(rows).array, golden["probabilities"])
        #expect(zip(ours, theirs).allSatisfy { abs($0 - $1) < 1e-4 }, "\(zip(ours, theirs).map { abs($0 - $1) }.max() ?? 0)")
    }

    @Test func domainsAndClassesOfSeparateClouds() {
        // Domain 0 has classes at (0, 0) and (0, 6), domain 1 at (6, 0) and (6, 6).
        let noise = normals(200, 2, stream: 9)
        func centre(_ row: Int) -> DomainClassifier.Label { DomainClassifier.Label(domain: row / 2 % 2, class: row % 2) }
        let rows = matrix(200, 2) { 6 * Float($1 == 0 ? centre($0).domain : centre($0).class) + 0.7 * noise[$0, $1] }
        let domains = [("left", ["a", "b"]), ("right", ["c", "d"])].map { DomainClassifier.Domain(name: $0.0, classes: $0.1) }
        let classifier = DomainClassifier(domains, features: rows.rows(0..<100), labels: (0..<100).map(centre))
        let rest = rows.rows(100..<200)
        #expect(zip(classifier.predictions(rest), 100..<200).allSatisfy { $0 == centre($1) })
        let asked = (100..<200).map { domains[1].classes[centre($0).class] }
        let agreement = classifier.agreement(rest, domain: 1, classes: asked, bootstrap: Bootstrap())
        #expect(agreement.domain.value == 0.5)
        #expect(agreement.class?.value == 0.5)
        #expect(classifier.agreement(rest, domain: 1, classes: nil, bootstrap: Bootstrap()).class == nil)
    }
}

@Suite struct PairedPSNRTests {
    @Test func knownDifferences() throws {
        let black = RGBImage(width: 2, height: 2), grey = RGBImage(width: 2, height: 2, filledWith: (51, 51, 51))
        // 20 log10(255 / 51) = 20 log10(5).
        let decibels = try #require(PairedPSNR.decibels(black, grey))
        #expect(abs(decibels - 20 * log10(5)) < 1e-12)
        let all = PairedPSNR([black, grey, black], against: [grey, grey, black])
        #expect(all.identical == 2)
        #expect(all.pairs == 3)
        #expect(all.median == nil)
        #expect(all.mean == decibels)
        #expect(all.least == decibels)
        #expect(PairedPSNR([black, black, black], against: [grey, grey, black]).median == decibels)
        let white = RGBImage(width: 2, height: 2, filledWith: (255, 255, 255))
        #expect(PairedPSNR([black, black], against: [grey, white]).median == decibels / 2)
        #expect(PairedPSNR([black, black], against: [grey, black]).median == nil)
    }
}

@Suite struct SampleManifoldTests {
    private let bootstrap = Bootstrap(resamples: 4)

    /// Rows of normals, moved and stretched.
    private func rows(_ count: Int, _ stream: UInt64, at place: Float = 0, scale: Float = 1) -> Matrix {
        let rows = Memory(capacity: Memory.paddedCount(count * 4)).take(count, 4)
        Philox(seed: 9, stream: stream).normals(into: rows)
        rows.withMutableSpan { for i in $0.indices { $0[i] = place + scale * $0[i] } }
        return rows
    }

    /// The reference itself is all of it; a sample on one spot of it lies within and reaches little, one far away neither.
    @Test func precisionRecallAndVariety() throws {
        let reference = rows(60, 1), labels = (0..<60).map { $0 % 2 }
        func measure(_ sample: Matrix) -> SampleManifold {
            SampleManifold(sample: sample, classes: (0..<sample.rows).map { $0 % 2 }, reference: reference, referenceLabels: labels, bootstrap: bootstrap)
        }
        let same = measure(reference)
        #expect(same.precision.value == 1 && same.recall.value == 1)
        #expect(abs(try #require(same.variety) - 1) < 1e-6)
        let spot = measure(rows(60, 2, scale: 0.01))
        #expect(spot.precision.value == 1)
        #expect(spot.recall.value < 0.1)
        #expect(try #require(spot.variety) < 0.05)
        let far = measure(rows(60, 3, at: 50))
        #expect(far.precision.value == 0 && far.recall.value == 0)
        #expect(same.memorised == nil)
    }

    /// Copies of training images are nearer to these than any other image is; others of their kind are not.
    @Test func copiesAreMemorised() throws {
        let training = rows(30, 4), heldOut = rows(30, 5)
        func memorised(_ sample: Matrix) throws -> Double {
            let found = SampleManifold(
                sample: sample, classes: nil, reference: training, referenceLabels: [Int](repeating: 0, count: 30), training: training, heldOut: heldOut,
                bootstrap: bootstrap)
            #expect(found.variety == nil)
            return try #require(found.memorised).value
        }
        #expect(try memorised(training) == 1)
        #expect(try memorised(rows(30, 6)) < 0.2)
    }
}
