import AdapterFormat
import DiTModel
import Glibc
import GoldenFiles
import ProgramRunner
import TensorMath
import Testing

/// Laws 1 and 5 on the recorded model.
@Suite struct LawTests {
    private let configuration = GoldenModels.tiny
    private let base: Golden
    private let layout: TunableLayout
    private let vectors: [TunableVector]
    private let classes: ClassTable

    init() throws {
        base = try Golden("dit-tiny")
        layout = TunableLayout(configuration)
        let own = base.vector(layout)
        let adapter = try Golden("difffit-tiny-adapter").vector(layout, over: own)
        let third = TunableVector(zip(own.values, adapter.values).map { 1.5 * $0 - 0.5 * $1 }, layout: layout)
        vectors = [own, adapter, third]
        classes = base.classTable(10)
    }

    @Test func tenThousandSwapsEndBitEqualToTheBase() {
        let adapterSlots = AdapterSlots(layout, count: 2, classRows: 11)
        let before = vectors[0].values.map(\.bitPattern)
        var state: UInt64 = 1
        for _ in 0..<10_000 {
            state = state &* 6_364_136_223_846_793_005 &+ 1
            adapterSlots.install(vectors[Int(state >> 33) % 3], classes, slot: Int(state >> 40) % 2)
        }
        adapterSlots.install(vectors[1], classes, slot: 0)
        adapterSlots.install(vectors[0], classes, slot: 0)
        #expect(adapterSlots.read(slot: 0).values.map(\.bitPattern) == before)
    }

    /// Law 1: a warm swap allocates nothing. In a program that counts every allocation, which making and reading a slot do.
    @Test func aWarmSwapAllocatesNothing() throws {
        let program = try RunningProgram(builtProgram("swapcounter"), output: .followed)
        let counts = try #require(program.line()).split(separator: " ").compactMap { Int($0) }
        #expect(program.wait() == 0)
        try #require(counts.count == 3)
        #expect(counts[0] > 0)
        #expect(counts[1] == 0)
        #expect(counts[2] > 0)
    }

    private static let isSanitized = dlsym(nil, "__asan_init") != nil || dlsym(nil, "__tsan_init") != nil

    /// The counting functions are in the program above and not in the one that runs the tests.
    @Test(.disabled(if: isSanitized, "a sanitizer has a mmap of its own"))
    func theTestsHaveTheSystemsMmap() throws {
        let library = try #require(dlopen("libc.so.6", RTLD_NOW))
        #expect(dlsym(nil, "mmap") == dlsym(library, "mmap"))
    }

    /// Every image of a mixed batch has the bytes it has alone, whatever the threads and its neighbours.
    @Test(arguments: NetworkForm.all, [1, 2, 3])
    func aMixedBatchGivesEachImageItsOwnBytes(form: NetworkForm, threads: Int) throws {
        let adapterSlots = AdapterSlots(layout, count: 3, classRows: 11)
        for (row, vector) in vectors.enumerated() { adapterSlots.install(vector, classes, slot: row) }
        let model = try InferenceDiT(
            DiT(configuration, weights: base.weights(configuration)), precision: form.precision, matrixTiles: form.matrixTiles)
        let count = 7, size = 256
        let batch = DiTBatch(model, adapterSlots: adapterSlots, rows: count, pool: ThreadPool(threads: threads))
        let memory = Memory(capacity: 6 * 1024 * 4)
        let x = memory.take(count, size), together = memory.take(count, 2 * size), alone = memory.take(1, 2 * size)
        Philox(seed: 4, stream: 0).normals(into: x)
        let times: [Float] = [999, 500, 20, 0, 500, 3, 77], labels = [1, 2, 10, 4, 4, 0, 9], rows = [0, 1, 2, 1, 0, 2, 2]
        batch.forward(x: x, times: times, classes: labels, slots: rows, into: together)
        for k in 0..<count {
            let single = DiTBatch(model, adapterSlots: adapterSlots, rows: 1, pool: ThreadPool(threads: 1))
            single.forward(x: x.row(k), times: [times[k]], classes: [labels[k]], slots: [rows[k]], into: alone)
            #expect(alone.array.map(\.bitPattern) == together.row(k).array.map(\.bitPattern), "image \(k)")
        }
        #expect(together.row(1).array != together.row(4).array)
    }
}
