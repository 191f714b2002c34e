import CKernels
import Foundation

/// What this machine can do at most, measured: arithmetic on registers and reads from each level of memory. The figures of other benchmarks
/// are shares of these.
package struct MachineRates: Sendable, Encodable {
    /// Of one kind of factors.
    package struct Arithmetic: Sendable, Encodable {
        package let factors: String
        /// Additions and multiplications in a second, of one thread and of all at once.
        package let one, all: Double
    }

    /// Of one level of memory.
    package struct Bandwidth: Sendable, Encodable {
        package let level: String
        /// Bytes read, each thread its own.
        package let bytes: Int
        /// Bytes in a second, of one thread and of all at once.
        package let one, all: Double
    }

    package let threads: Int
    package let arithmetic: [Arithmetic]
    package let bandwidths: [Bandwidth]

    /// Measures for about a second. What else the machine does makes the figures smaller: each is the best of several runs.
    package static func measure(_ pool: ThreadPool) -> MachineRates {
        MachineRates(
            threads: pool.threadCount,
            arithmetic: [Precision.f32, .bf16, .int8].compactMap { precision in
                guard let one = arithmetic(precision, threads: 1, pool), let all = arithmetic(precision, threads: pool.threadCount, pool) else { return nil }
                return Arithmetic(factors: precision.rawValue, one: one, all: all)
            },
            bandwidths: levels(threads: pool.threadCount).map { level, bytes in
                Bandwidth(level: level, bytes: bytes, one: bandwidth(bytes, threads: 1, pool), all: bandwidth(bytes, threads: pool.threadCount, pool))
            })
    }

    /// Additions and multiplications in a second that so many threads together do on registers; nil where the processor has no instructions
    /// for such factors.
    package static func arithmetic(_ precision: Precision, threads: Int, _ pool: ThreadPool) -> Double? {
        let factors =
            switch precision.dtype(isMLPOutput: false) {
            case .bf16: CK_FACTORS_BF16
            case .u8: CK_FACTORS_INT8
            default: CK_FACTORS_F32
            }
        let rounds = 1_000_000, operations = Double(ck_register_operations(factors, 1)) * Double(rounds)
        guard operations > 0 else { return nil }
        return Double(threads) * operations / leastSeconds(threads: threads, pool) { _ in _ = ck_register_operations(factors, rounds) }
    }

    /// Bytes in a second that so many threads read together, each from memory of its own.
    private static func bandwidth(_ bytes: Int, threads: Int, _ pool: ThreadPool) -> Double {
        let memory = Memory(capacity: threads * Memory.paddedCount(bytes / 4))
        let parts = (0..<threads).map { _ in memory.take(bytes / 4) }
        // Small parts often, so that starting the threads does not count.
        let times = max(1, (64 << 20) / bytes)
        return Double(threads * times * bytes)
            / leastSeconds(threads: threads, pool) { thread in
                for _ in 0..<times { unsafe ck_read(parts[thread].base, bytes) }
            }
    }

    private static func leastSeconds(threads: Int, _ pool: ThreadPool, _ work: (_ thread: Int) -> Void) -> Double {
        (0..<5).map { _ in
            let start = ContinuousClock.now
            pool.run { if $0 < threads { work($0) } }
            return (ContinuousClock.now - start) / .seconds(1)
        }.min() ?? .infinity
    }

    /// Bytes of a thread that lie in each level: half of the second cache, half of a thread's share of the third, far beyond all.
    private static func levels(threads: Int) -> [(level: String, bytes: Int)] {
        // Virtual machines tell sysconf sizes of their own making.
        let size = { (index: Int, usual: Int) in
            let text = try? String(contentsOfFile: "/sys/devices/system/cpu/cpu0/cache/index\(index)/size", encoding: .utf8)
            return text.flatMap { Int($0.prefix { $0.isNumber }) }.map { $0 << 10 } ?? usual
        }
        let second = size(2, 1 << 20), third = size(3, 16 << 20)
        let parts = [("L2", second / 2), ("L3", max(2 * second, third / 2 / threads)), ("memory", max(128 << 20, 2 * third))]
        return parts.map { ($0, $1 / 4096 * 4096) }
    }
}
