import CKernels
import TensorMath
import Testing

/// The composer's sums are part of an adapter's identity: their bits must not depend on the processor.
@Suite struct DifferenceTests {
    private static let values: [Float] = (0..<103).map { 1 / (Float($0) - 51.3) }
    private static let base: [Float] = (0..<103).map { 0.1 * Float($0 % 17) }

    @Test func everyInstructionSetGivesTheSameBits() async {
        await #expect(processExitsWith: .success) {
            let (values, base) = (DifferenceTests.values, DifferenceTests.base)
            // Each product, then each sum, is rounded by itself.
            let sums = zip(values, base).map { value, base in
                let product = 0.7 * (Double(value) - Double(base))
                return 0.25 + product
            }
            let expected = zip(base, sums).map { Float(Double($0) + $1) }
            for level in [CK_SCALAR, CK_AVX2, CK_AVX512, CK_AVX512_BF16] where ck_set_level(level) == level {
                var got = [Double](repeating: 0.25, count: values.count), out = [0] + base + [0]
                var total = got.mutableSpan
                addDifference(values.span, minus: base.span, times: 0.7, to: &total)
                var all = out.mutableSpan
                add(total.span, to: &all, at: 1..<(base.count + 1))
                #expect(got == sums, "level \(level.rawValue)")
                #expect(out == [0] + expected + [0], "level \(level.rawValue)")
            }
        }
    }
}
