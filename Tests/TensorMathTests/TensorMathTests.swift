import CKernels
import Foundation
import TensorMath
import Testing

@Suite struct NoiseTests {
    @Test func numbersDependOnTheirPositionAlone() {
        let stream = Philox(seed: 11, stream: 5)
        var whole = [Float](repeating: 0, count: 1000), part = [Float](repeating: 0, count: 300)
        stream.normals(into: &whole)
        stream.normals(into: &part, from: 400)
        #expect(Array(whole[400..<700]) == part)
        #expect(stream.normal(123) == whole[123])
        #expect(
            whole
                != {
                    var other = whole; Philox(seed: 11, stream: 6).normals(into: &other); return other
                }())
    }

    @Test func normalsHaveTheMomentsOfANormal() {
        let count = 200_000
        var values = [Float](repeating: 0, count: count)
        Philox(seed: 1, stream: 0).normals(into: &values)
        let mean = values.reduce(0.0) { $0 + Double($1) } / Double(count)
        let variance = values.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(count)
        let fourth = values.reduce(0.0) { $0 + pow(Double($1), 4) } / Double(count)
        // Five standard errors.
        #expect(abs(mean) < 5 / Double(count).squareRoot())
        #expect(abs(variance - 1) < 5 * (2 / Double(count)).squareRoot())
        #expect(abs(fourth - 3) < 5 * (96 / Double(count)).squareRoot())
    }
}

@Suite struct PhiloxTests {
    /// The known answers published with the generator (Random123, philox4x32 of ten rounds).
    @Test(arguments: [
        ([UInt32](repeating: 0, count: 4), [UInt32](repeating: 0, count: 2), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8] as [UInt32]),
        ([UInt32](repeating: .max, count: 4), [UInt32](repeating: .max, count: 2), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        ),
    ])
    func answersAreTheKnownOnes(counter: [UInt32], key: [UInt32], answer: [UInt32]) {
        var words = [UInt32](repeating: 0, count: 4)
        ck_philox(&words, counter, key)
        #expect(words == answer)
    }
}

@Suite struct InstructionSetTests {
    /// Every loop at every level this processor has, against the scalar one. In a process of its own: the level is global.
    @Test func everyInstructionSetGivesTheScalarNumbers() async {
        await #expect(processExitsWith: .success) {
            ck_set_level(CK_SCALAR)
            let plain = kernelResults()
            for level in [CK_AVX2, CK_AVX512, CK_AVX512_BF16] where ck_set_level(level) == level {
                for ((name, expected), (_, got)) in zip(plain, kernelResults()) {
                    let largest = expected.reduce(1e-3) { max($0, abs($1)) }
                    let worst = zip(expected, got).reduce(0) { max($0, abs($1.0 - $1.1)) }
                    #expect(worst <= 5e-6 * largest, "\(name) at level \(level.rawValue): \(worst) of \(largest)")
                    #expect(!got.contains { $0.isNaN }, "\(name) at level \(level.rawValue): \(worst) of \(largest)")
                }
            }
        }
    }
}

/// Each loop's results over sizes that are no multiple of any vector's width.
private func kernelResults() -> [(String, [Float])] {
    let (rows, n) = (3, 83)
    func noise(_ stream: UInt64, _ count: Int) -> [Float] {
        var values = [Float](repeating: 0, count: count)
        Philox(seed: 9, stream: stream).normals(into: &values)
        return values
    }
    let x = noise(0, rows * n), y = noise(1, rows * n), a = noise(2, n), b = noise(3, n), c = noise(4, n), d = noise(5, n)
    let zero = [Float](repeating: 0, count: rows * n), line = [Float](repeating: 0, count: n)
    var results: [(String, [Float])] = []
    func record(_ name: String, _ outputs: [Float]...) { results.append((name, outputs.flatMap { $0 })) }

    var out = zero, mean = [Float](repeating: 0, count: rows), deviation = mean
    ck_norm_modulate(&out, x, a, b, &mean, &deviation, rows, n, 1e-6)
    record("norm_modulate", out, mean, deviation)
    var (dx, ds, dt) = (zero, line, line)
    ck_norm_modulate_backward(&dx, &ds, &dt, y, x, mean, deviation, a, rows, n)
    record("norm_modulate_backward", dx, ds, dt)
    var (scale, shift) = (line, line)
    ck_fold_modulation(&scale, &shift, a, b, c, d, n)
    record("fold_modulation", scale, shift)
    var (dw, dc, dS, db) = (line, line, line, line)
    ck_fold_modulation_backward(&dw, &dc, &dS, &db, a, b, c, d, a, n)
    record("fold_modulation_backward", dw, dc, dS, db)
    var (z, w) = (x, zero)
    ck_add_bias(&z, a, rows, n)
    record("add_bias", z)
    z = x
    ck_bias_gamma(&w, &z, a, b, rows, n)
    record("bias_gamma", z, w)
    ck_scale_columns(&w, x, a, rows, n)
    record("scale_columns", w)
    (w, ds) = (zero, line)
    ck_gamma_backward(&w, &ds, y, x, a, rows, n)
    record("gamma_backward", w, ds)
    (z, w) = (y, zero)
    ck_residual(&w, x, &z, a, b, rows, n)
    record("residual", w, z)
    (w, ds) = (zero, line)
    ck_residual_backward(&w, &ds, y, x, a, rows, n)
    record("residual_backward", w, ds)
    (z, w) = (x, zero)
    ck_bias_gelu(&w, &z, a, rows, n)
    record("bias_gelu", w, z)
    ck_gelu_backward(&w, y, x, rows * n)
    record("gelu_backward", w)
    ck_gelu(&w, x, rows * n)
    record("gelu", w)
    ck_silu(&w, x, rows * n)
    record("silu", w)
    ck_silu_backward(&w, y, x, rows * n)
    record("silu_backward", w)
    ds = line
    ck_column_sum(&ds, x, rows, n)
    record("column_sum", ds)
    ck_multiply(&w, x, y, rows * n)
    record("multiply", w)
    ck_multiply_add(&w, x, y, rows * n)
    record("multiply_add", w)
    ck_axpy(&w, x, 0.3, rows * n)
    record("axpy", w)
    z = x
    ck_softmax(&z, 0.7, rows, n)
    record("softmax", z)
    w = y
    ck_softmax_backward(&w, z, 0.7, rows, n)
    record("softmax_backward", w)
    let features = 5
    var product = [Float](repeating: 0, count: rows * features)
    ck_linear_rows(&product, x, noise(6, features * n), rows, n, features)
    record("linear_rows", product)
    var (p, m, v) = (x, y.map { 0.1 * $0 }, y.map { $0 * $0 })
    var settings = ck_adamw_settings(
        learning_rate: 1e-2, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, correction1: 0.1, correction2: 0.05, gradient_scale: 0.5)
    ck_adamw(&p, &m, &v, y, rows * n, &settings)
    record("adamw", p, m, v)
    ck_ema(&p, x, 0.9, 0.1, rows * n)
    record("ema", p)
    record("sum_of_squares", [Float(ck_sum_of_squares(x, rows * n))])
    var wide = zero
    ck_bf16_to_f32(&wide, x.map { UInt16($0.bitPattern >> 16) }, rows * n)
    record("bf16_to_f32", wide)
    return results
}

@Suite struct PoolTests {
    @Test(arguments: [1, 2, 5])
    func everyIndexIsVisitedOnceInEveryRound(threads: Int) {
        let pool = ThreadPool(threads: threads)
        let counts = Memory(capacity: 1024).take(100, 1)
        for _ in 0..<200 { pool.forEach(100) { counts[$0, 0] += 1 } }
        #expect(counts.array.allSatisfy { $0 == 200 })
    }

    @Test func sharesCoverEverythingOnce() {
        let pool = ThreadPool(threads: 3)
        for count in [0, 1, 15, 16, 17, 47, 48, 1000, 4097] {
            let shares = (0..<3).map { pool.share(of: count, thread: $0) }
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
        Philox(seed: 2, stream: 0).normals(into: a)
        Philox(seed: 2, stream: 1).normals(into: b)
        for i in 0..<m { for j in 0..<k { at[j, i] = a[i, j] } }
        for i in 0..<k { for j in 0..<n { bt[j, i] = b[i, j] } }
        for (left, right) in [
            (Factor.plain(a), Factor.plain(b)), (.transposed(at), .plain(b)), (.plain(a), .transposed(bt)), (.transposed(at), .transposed(bt)),
        ] {
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
