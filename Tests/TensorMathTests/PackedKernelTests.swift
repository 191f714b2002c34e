import CKernels
import TensorMath
import Testing

/// The epilogues of packed products at every instruction set of this processor. In a process of its own: the level is global.
@Suite struct PackedKernelTests {
    @Test func everyInstructionSetGivesTheScalarNumbers() async {
        await #expect(processExitsWith: .success) {
            ck_set_level(CK_SCALAR)
            let plain = packedKernelResults()
            for level in [CK_AVX2, CK_AVX512, CK_AVX512_BF16] where ck_set_level(level) == level {
                for ((name, step, expected), (_, _, got)) in zip(plain, packedKernelResults()) {
                    let worst = zip(expected, got).reduce(0) { max($0, abs($1.0 - $1.1) - step * max(1, abs($1.0))) }
                    #expect(worst <= 0, "\(name) at level \(level.rawValue): \(worst) beyond \(step)")
                    #expect(!got.contains { $0.isNaN }, "\(name) at level \(level.rawValue): \(worst) beyond \(step)")
                }
            }
        }
    }

    /// Rounding to bfloat16 is to nearest even, at every level, and a NaN stays one.
    @Test func bfloat16IsRoundedToNearestEven() async {
        await #expect(processExitsWith: .success) {
            let given: [Float] = [1, 1.00390625, 1.01171875, -1.00390625, 3.4e38, .infinity, 0, -0.0, .nan] + [Float](repeating: 0.1, count: 20)
            let expected: [UInt16] = [0x3f80, 0x3f80, 0x3f82, 0xbf80, 0x7f80, 0x7f80, 0, 0x8000, 0] + [UInt16](repeating: 0x3dcd, count: 20)
            for level in [CK_SCALAR, CK_AVX2, CK_AVX512, CK_AVX512_BF16] where ck_set_level(level) == level {
                var bfloat16 = [UInt16](repeating: 1, count: given.count)
                ck_round_bf16(&bfloat16, given, given.count)
                #expect(bfloat16[8] & 0x7fff > 0x7f80)
                bfloat16[8] = 0
                #expect(bfloat16 == expected, "level \(level.rawValue)")
            }
        }
    }

    /// A byte stands for a value at most half a step away, and 0 for itself.
    @Test(arguments: [Float(0), 3, -3])
    func bytesAreWithinHalfAStep(shift: Float) {
        let (rows, n) = (3, 83)
        var x = noise(1, rows * n).map { $0 + shift }
        x[5] = 0
        var bfloat16 = [UInt16](repeating: 0, count: x.count), bytes = [UInt8](repeating: 0, count: x.count)
        var step = [Float](repeating: 0, count: rows), zero = [Int32](repeating: 0, count: rows), line = [Float](repeating: 0, count: n)
        ck_round_bf16(&bfloat16, x, x.count)
        ck_quantise_rows(&bytes, &step, &zero, bfloat16, rows, n, &line)
        for r in 0..<rows {
            for j in 0..<n {
                let value = Float(bitPattern: UInt32(bfloat16[r * n + j]) << 16)
                let back = step[r] * Float(Int32(bytes[r * n + j]) - zero[r])
                // The zero point is rounded too, so the ends may be cut by half a step more.
                #expect(abs(value - back) <= 1.01 * step[r])
            }
        }
        #expect(step[0] * Float(Int32(bytes[5]) - zero[0]) == 0)
    }

    /// What is no number shows in the step, and so in everything that is made of the row.
    @Test func aRowThatIsNotFiniteShows() async {
        await #expect(processExitsWith: .success) {
            for level in [CK_SCALAR, CK_AVX2, CK_AVX512, CK_AVX512_BF16] where ck_set_level(level) == level {
                for (value, at) in [(Float.nan, 0), (.infinity, 17), (-.infinity, 40), (.nan, 40)] {
                    var x = noise(1, 41), bfloat16 = [UInt16](repeating: 0, count: 41), line = x
                    x[at] = value
                    ck_round_bf16(&bfloat16, x, 41)
                    var bytes = [UInt8](repeating: 9, count: 41), step: Float = 9, zero: Int32 = 9
                    ck_quantise_rows(&bytes, &step, &zero, bfloat16, 1, 41, &line)
                    #expect(step.isNaN)
                    var weights = [Int8](repeating: 9, count: 41), column: Float = 9, sum: Int32 = 9
                    ck_quantise_weights(&weights, &column, &sum, x, 1, 41)
                    #expect(column.isNaN)
                }
            }
        }
    }

    /// A query that is no number has no answer; its neighbours have theirs.
    @Test func attentionPassesOnWhatIsNoNumber() async {
        await #expect(processExitsWith: .success) {
            let (tokens, head) = (5, 16)
            for level in [CK_SCALAR, CK_AVX2, CK_AVX512, CK_AVX512_BF16] where ck_set_level(level) == level {
                var bfloat16 = [UInt16](repeating: 0, count: 3 * tokens * head), out = [UInt16](repeating: 0, count: tokens * head)
                var x = noise(1, bfloat16.count)
                x[2 * 3 * head + 3] = .nan
                ck_round_bf16(&bfloat16, x, x.count)
                let scratch = UnsafeMutableRawPointer.allocate(byteCount: ck_attention_scratch(tokens, head), alignment: 64)
                defer { scratch.deallocate() }
                bfloat16.withUnsafeBufferPointer { qkv in
                    let q = qkv.baseAddress!
                    ck_attention_bf16(&out, head, q, q + head, q + 2 * head, 3 * head, tokens, head, 0.25, scratch)
                }
                let values = out.map { Float(bitPattern: UInt32($0) << 16) }
                for token in 0..<tokens {
                    #expect(values[(token * head)..<((token + 1) * head)].allSatisfy { $0.isNaN == (token == 2) }, "token \(token) at level \(level.rawValue)")
                }
            }
        }
    }

    @Test func aRowOfZerosStaysOne() {
        var bytes = [UInt8](repeating: 9, count: 8), step: Float = 9, zero: Int32 = 9, line = [Float](repeating: 0, count: 8)
        ck_quantise_rows(&bytes, &step, &zero, [UInt16](repeating: 0, count: 8), 1, 8, &line)
        #expect(step == 0)
        #expect(bytes.allSatisfy { Int32($0) == zero })
    }
}

/// Each loop's results with the difference that one rounding may make, over sizes that are no multiple of any vector's width.
private func packedKernelResults() -> [(String, Float, [Float])] {
    let (rows, n) = (3, 83)
    let x = noise(0, rows * n), a = noise(2, n), b = noise(3, n)
    let integers = noise(4, rows * n).map { Int32($0 * 1000) }, columnSum = noise(5, n).map { Int32($0 * 10) }
    let columnScale = noise(6, n).map { abs($0) * 0.01 }, rowScale: [Float] = [0.1, 0.2, 0.3], rowZeroPoint: [Int32] = [0, 128, 255]
    var results: [(String, Float, [Float])] = []
    let half: Float = 1 / 128  // one unit in the last place of bfloat16
    func floats(_ bfloat16: [UInt16]) -> [Float] { bfloat16.map { Float(bitPattern: UInt32($0) << 16) } }

    var out = [Float](repeating: 0, count: rows * n), bfloat16 = [UInt16](repeating: 0, count: rows * n)
    var bytes = [UInt8](repeating: 0, count: rows * n), step = [Float](repeating: 0, count: rows), zero = [Int32](repeating: 0, count: rows)
    var line = [Float](repeating: 0, count: n)
    ck_round_bf16(&bfloat16, x, rows * n)
    results.append(("round_bf16", 0, floats(bfloat16)))
    ck_quantise_rows(&bytes, &step, &zero, bfloat16, rows, n, &line)
    results.append(("quantise_rows", 1, bytes.map(Float.init)))
    results.append(("quantise_rows' steps", 1e-6, step + zero.map(Float.init)))
    ck_norm_modulate_bf16(&bfloat16, x, a, b, rows, n, 1e-6)
    results.append(("norm_modulate_bf16", half, floats(bfloat16)))
    ck_norm_modulate_u8(&bytes, &step, &zero, x, a, b, rows, n, 1e-6, &line)
    results.append(("norm_modulate_u8", 1, bytes.map(Float.init)))
    var weights = [Int8](repeating: 0, count: rows * n)
    ck_quantise_weights(&weights, &step, &zero, x, rows, n)
    results.append(("quantise_weights", 1, weights.map(Float.init)))
    for quantised in [false, true] {
        x.withUnsafeBytes { real in
            integers.withUnsafeBytes { whole in
                rowScale.withUnsafeBufferPointer { rowScale in
                    rowZeroPoint.withUnsafeBufferPointer { rowZeroPoint in
                        columnScale.withUnsafeBufferPointer { columnScale in
                            columnSum.withUnsafeBufferPointer { columnSum in
                                var accumulators = ck_accumulators(
                                    values: quantised ? whole.baseAddress : real.baseAddress, stride: n,
                                    row_scale: quantised ? rowScale.baseAddress : nil, row_zero_point: rowZeroPoint.baseAddress,
                                    column_scale: columnScale.baseAddress, column_sum: columnSum.baseAddress)
                                let name = quantised ? "of bytes" : "of floats"
                                ck_accumulators_gamma(&out, n, &accumulators, a, b, rows, n)
                                results.append(("gamma \(name)", 1e-5, out))
                                ck_accumulators_gamma_bf16(&bfloat16, n, &accumulators, a, b, rows, n)
                                results.append(("gamma_bf16 \(name)", half, floats(bfloat16)))
                                ck_accumulators_gelu(&out, n, &accumulators, a, rows, n)
                                results.append(("gelu \(name)", 1e-5, out))
                                ck_accumulators_gelu_bf16(&bfloat16, n, &accumulators, a, rows, n)
                                results.append(("gelu_bf16 \(name)", half, floats(bfloat16)))
                                out = x
                                ck_accumulators_residual(&out, n, &accumulators, a, b, rows, n)
                                results.append(("residual \(name)", 1e-5, out))
                            }
                        }
                    }
                }
            }
        }
    }
    for (tokens, head) in [(16, 16), (19, 5), (37, 72), (64, 80)] {
        var values = [UInt16](repeating: 0, count: tokens * 3 * head), attended = [UInt16](repeating: 0, count: tokens * head)
        ck_round_bf16(&values, noise(7, values.count), values.count)
        let scratch = UnsafeMutableRawPointer.allocate(byteCount: ck_attention_scratch(tokens, head), alignment: 64)
        values.withUnsafeBufferPointer { q in
            ck_attention_bf16(
                &attended, head, q.baseAddress, q.baseAddress! + head, q.baseAddress! + 2 * head, 3 * head, tokens, head, 0.3, scratch)
        }
        scratch.deallocate()
        results.append(("attention_bf16 of \(tokens) tokens, head \(head)", half, floats(attended)))
    }
    return results
}

private func noise(_ stream: UInt64, _ count: Int) -> [Float] {
    var values = [Float](repeating: 0, count: count)
    Philox(seed: 9, stream: stream).normals(into: &values)
    return values
}
