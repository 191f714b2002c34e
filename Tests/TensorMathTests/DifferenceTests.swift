import CKernels
import TensorMath
import Testing

/// The composer's sums are part of an adapter's identity: their bits must not depend on the processor.
@Suite struct DifferenceTests {
    private static let base: [Float] = (0..<2103).map { 0.1 * Float($0 % 17) }
    /// More than the kernel takes at a time, and one more.
    private static let sources = (0..<6).map { WeightedValues(0.7 - 0.3 * Double($0), values(Float($0))) }

    private static func values(_ shift: Float) -> [Float] { (0..<2103).map { index in 1 / (Float(index % 103) - 51.3 + shift) } }

    @Test(arguments: [1, 4, 6])
    func everyInstructionSetGivesTheSameBits(count: Int) async {
        await #expect(processExitsWith: .success) { [count] in
            let (sources, base) = (Array(DifferenceTests.sources.prefix(count)), DifferenceTests.base)
            let range = 3..<2102
            // Each product, then each sum, is rounded by itself, source after source.
            let expected = base.indices.map { i in
                guard range.contains(i) else { return base[i] }
                let sum = sources.reduce(0.0) { sum, source in
                    let product = source.weight * (Double(source.values[i]) - Double(base[i]))
                    return sum + product
                }
                return Float(Double(base[i]) + sum)
            }
            for level in [CK_SCALAR, CK_AVX2, CK_AVX512, CK_AVX512_BF16] where ck_set_level(level) == level {
                var got = base
                addDifferences(sources, to: &got, range)
                #expect(got.map(\.bitPattern) == expected.map(\.bitPattern), "level \(level.rawValue)")
            }
        }
    }
}
