import CKernels
import Foundation
import TensorMath
import Testing

@Suite struct NoiseTests {
    @Test func numbersDependOnTheirPositionAlone() {
        let stream = NoiseStream(seed: 11, stream: 5)
        var whole = [Float](repeating: 0, count: 1000), part = [Float](repeating: 0, count: 300)
        stream.normals(into: &whole)
        stream.normals(into: &part, from: 400)
        #expect(Array(whole[400..<700]) == part)
        #expect(stream.normal(123) == whole[123])
        #expect(whole != { var other = whole; NoiseStream(seed: 11, stream: 6).normals(into: &other); return other }())
    }

    @Test func normalsHaveTheMomentsOfANormal() {
        let count = 200_000
        var values = [Float](repeating: 0, count: count)
        NoiseStream(seed: 1, stream: 0).normals(into: &values)
        let mean = values.reduce(0.0) { $0 + Double($1) } / Double(count)
        let variance = values.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(count)
        let fourth = values.reduce(0.0) { $0 + pow(Double($1), 4) } / Double(count)
        // Five standard errors.
        #expect(abs(mean) < 5 / Double(count).squareRoot())
        #expect(abs(variance - 1) < 5 * (2 / Double(count)).squareRoot())
        #expect(abs(fourth - 3) < 5 * (96 / Double(count)).squareRoot())
    }
}

@Suite struct PoolTests {
    @Test(arguments: [1, 2, 5])
    func everyIndexIsVisitedOnceInEveryRound(lanes: Int) {
        let pool = ComputePool(lanes: lanes)
        let counts = Memory(capacity: 1024).take(100, 1)
        for _ in 0..<200 { pool.forEach(100) { counts[$0, 0] += 1 } }
        #expect(counts.array.allSatisfy { $0 == 200 })
    }

    @Test func sharesCoverEverythingOnce() {
        let pool = ComputePool(lanes: 3)
        for count in [0, 1, 15, 16, 17, 47, 48, 1000, 4097] {
            let shares = (0..<3).map { pool.share(of: count, lane: $0) }
            #expect(shares.flatMap { Array($0) } == Array(0..<count), "\(count)")
        }
    }
}

@Suite struct ProductTests {
    /// Against sums in double precision, in all four forms.
    @Test func productsAreTheirDefinition() {
        let (m, n, k) = (7, 5, 9)
        let memory = Memory(capacity: 4096)
        let a = memory.take(m, k), at = memory.take(k, m), b = memory.take(k, n), bt = memory.take(n, k), c = memory.take(m, n)
        NoiseStream(seed: 2, stream: 0).normals(into: a)
        NoiseStream(seed: 2, stream: 1).normals(into: b)
        for i in 0..<m { for j in 0..<k { at[j, i] = a[i, j] } }
        for i in 0..<k { for j in 0..<n { bt[j, i] = b[i, j] } }
        for (left, right) in [(Factor.plain(a), Factor.plain(b)), (.transposed(at), .plain(b)), (.plain(a), .transposed(bt)), (.transposed(at), .transposed(bt))] {
            c.fill(1)
            multiply(left, right, into: c, adding: true)
            for i in 0..<m {
                for j in 0..<n {
                    let exact = 1 + (0..<k).reduce(0.0) { $0 + Double(a[i, $1]) * Double(b[$1, j]) }
                    #expect(abs(Double(c[i, j]) - exact) < 1e-5)
                }
            }
        }
    }
}
