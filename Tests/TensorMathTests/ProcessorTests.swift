import CKernels
import Foundation
import TensorMath
import Testing

/// How many processors a process may use, from files as the kernel writes them.
struct ProcessorTests {
    private let root = FileManager.default.temporaryDirectory.appending(path: "processors-\(UUID().uuidString)").path + "/"

    private func count(_ affinity: Int, _ files: [String: String]) throws -> Int {
        defer { try? FileManager.default.removeItem(atPath: root) }
        for (path, text) in files {
            let file = URL(filePath: root + path)
            try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        return Processors.count(affinity: affinity, root: root)
    }

    @Test func theAffinityCountsWhereNoGroupHasALimit() throws {
        #expect(try count(8, [:]) == 8)
        #expect(try count(8, ["proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "max 100000\n"]) == 8)
        #expect(try count(0, [:]) == 1)
        #expect(ThreadPool.processorCount >= 1)
        #expect(ThreadPool.processorCount <= Int(ck_processor_count()))
    }

    /// A container's `--cpus 1.5` and a unit's `CPUQuota=200%`.
    @Test func aQuotaBoundsTheCount() throws {
        #expect(try count(64, ["proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"]) == 2)
        #expect(try count(64, ["proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "20000 100000\n"]) == 1)
        #expect(try count(2, ["proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "800000 100000\n"]) == 2)
        // The group above bounds the one below.
        let nested = [
            "proc/self/cgroup": "0::/slice/unit\n", "sys/fs/cgroup/slice/unit/cpu.max": "400000 100000\n", "sys/fs/cgroup/slice/cpu.max": "300000 100000\n",
        ]
        #expect(try count(64, nested) == 3)
    }

    @Test func theFirstVersionOfControlGroupsIsReadToo() throws {
        let files = [
            "proc/self/cgroup": "12:pids:/x\n4:cpu,cpuacct:/job\n0::/\n", "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "250000\n",
            "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        ]
        #expect(try count(64, files) == 3)
    }
}

struct LibraryTests {
    /// The environment as it was at the start.
    private static var isChosenOutside: Bool {
        let start = (try? Data(contentsOf: URL(filePath: "/proc/self/environ"))).map { String(decoding: $0, as: UTF8.self) } ?? ""
        return start.split(separator: "\0").contains { $0.hasPrefix("OPENBLAS_CORETYPE=") && !$0.hasSuffix("=") }
    }

    /// A thread per processor, each with a buffer, is what a limit of the address space refuses.
    @Test func theLibraryStartsNoThreads() async {
        await #expect(processExitsWith: .success) {
            func threads() throws -> Int { try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count }
            let before = try threads()
            let memory = Memory(capacity: 3 * 512 * 512)
            let (a, b, c) = (memory.take(512, 512), memory.take(512, 512), memory.take(512, 512))
            multiply(.plain(a), .plain(b), into: c)
            #expect(try threads() == before)
        }
    }

    /// OpenBLAS takes the kernels of 2004 for a processor that it does not know; what the processor can do is known.
    @Test(.enabled("needs a processor with AVX2, and no choice made outside") { ck_best_level() != CK_SCALAR && !isChosenOutside })
    func theKernelsFitTheProcessor() {
        let core = blasDescription.components(separatedBy: "core ").last ?? ""
        let fitting = ck_best_level() == CK_AVX2 ? ["Haswell", "Zen"] : ["SkylakeX", "Cooperlake"]
        #expect(fitting.contains(core), "\(blasDescription)")
    }

    /// A model that a library does not know, in place of this one.
    @Test func lesserKernelsAreToldOf() throws {
        #expect(lesserKernels(on: CK_AVX512_BF16, core: "Cooperlake", oneDNN: "AVX-512 with bfloat16") == nil)
        #expect(lesserKernels(on: CK_AVX512_BF16, core: "SapphireRapids", oneDNN: "AMX tiles") == nil)
        #expect(lesserKernels(on: CK_AVX2, core: "Zen", oneDNN: nil) == nil)
        #expect(lesserKernels(on: CK_AVX2, core: "", oneDNN: "AVX2 with VNNI") == nil)
        #expect(lesserKernels(on: CK_SCALAR, core: "Prescott", oneDNN: "SSE4.1") == nil)
        let old = try #require(lesserKernels(on: CK_AVX512_BF16, core: "Prescott", oneDNN: "AMX tiles"))
        #expect(old.contains("Prescott") && old.contains("OPENBLAS_CORETYPE"))
        #expect(lesserKernels(on: CK_AVX512, core: "Haswell", oneDNN: "AVX-512") != nil)
        let held = try #require(lesserKernels(on: CK_AVX512_BF16, core: "Cooperlake", oneDNN: "AVX-512 with VNNI"))
        #expect(held.contains("oneDNN uses AVX-512 with VNNI") && held.contains("DNNL_MAX_CPU_ISA"))
        #expect(lesserKernels(on: CK_AVX2, core: "Haswell", oneDNN: "SSE4.1") != nil)
        #expect(lesserKernels(on: CK_AVX512_BF16, core: "Cooperlake", oneDNN: "AMX tiles", tiles: CK_TILES_GRANTED) == nil)
        let refused = try #require(lesserKernels(on: CK_AVX512_BF16, core: "Cooperlake", oneDNN: "AVX-512 with bfloat16", tiles: CK_TILES_REFUSED))
        #expect(refused.contains("AMX") && refused.contains("arch_prctl"))
    }

    /// As many operations as rounds, of factors that the processor has instructions for alone; every level of memory has a rate.
    @Test func theMachinesRatesAreOfWhatItHas() {
        for (factors, level) in [(CK_FACTORS_F32, CK_AVX2), (CK_FACTORS_BF16, CK_AVX512_BF16)] {
            let one = ck_register_operations(factors, 1)
            #expect((one > 0) == (ck_best_level().rawValue >= level.rawValue))
            #expect(ck_register_operations(factors, 7) == 7 * one)
        }
        let rates = MachineRates.measure(ThreadPool(threads: 1))
        #expect(rates.bandwidths.map(\.level) == ["L2", "L3", "memory"])
        #expect(rates.bandwidths.allSatisfy { $0.one > 0 && $0.all > 0 })
        #expect(rates.arithmetic.contains { $0.factors == "bf16" } == (ck_best_level() == CK_AVX512_BF16))
    }

    @Test func aPoolHasALaneForEachThatIsWantedAndOneAtLeast() {
        #expect(ThreadPool(threads: 3).threadCount == 3)
        #expect(ThreadPool(threads: 0).threadCount == 1)
    }
}
