import AdapterFormat
import AdapterStore
import DiTModel
import Diffusion
import Foundation
import SamplingEngine
import TensorMath
import Testing

/// The sampling cache: off it changes no bit, on it is the same in any company, and its line is the line.
@Suite struct CacheTests {
    private let base: BaseFile
    private let adapters: [BoundAdapter]
    private let half = (0..<10).map { $0 < 3 || $0 == 9 || $0 % 2 == 0 }

    init() throws {
        let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/dit-pixel.safetensors").path
        let base = try BaseFile(path: path)
        self.base = base
        adapters = (0..<2).map { domain in
            BoundAdapter(
                name: "domain-\(domain)", digest: Digest(of: Data("domain \(domain)".utf8)),
                vector: TunableVector(base.vector.values.map { $0 * (1.1 + 0.25 * Float(domain)) }, layout: base.layout), classes: base.classes, grid: nil)
        }
    }

    private func order(_ domain: Int, _ cache: [Bool]?, _ kind: GuidanceKind = .cfg, interval: ClosedRange<Double> = 0...1) -> ImageOrder {
        var order = ImageOrder(
            stages: [.init(parts: [.init(adapter: adapters[domain], classIndex: 1)])], seed: 3, index: UInt64(domain),
            guidance: ImageGuidance(kind, scale: 2, interval: interval))
        order.cache = cache
        return order
    }

    private func sample(_ orders: [ImageOrder], rows: Int = 16, threads: Int = 2) async throws -> [[Float]] {
        var options = EngineOptions.unbounded
        options.rows = rows
        let engine = try SamplingEngine(base, options: options, pool: ThreadPool(threads: threads))
        return try await engine.sample(SamplingRequest(client: "test", images: orders, sampler: .ddim, steps: 10)).images.map(\.latent)
    }

    @Test func aProfileThatRunsEveryCallChangesNothing() async throws {
        #expect(try await sample([order(0, [Bool](repeating: true, count: 10))]) == sample([order(0, nil)]))
    }

    @Test func skippedCallsMakeAnotherPictureAndMixedBatchesTheSame() async throws {
        let fewer = (0..<10).map { $0 < 2 || $0 == 9 || $0 % 3 == 0 }
        let orders = [order(0, half), order(1, nil), order(1, fewer, .domain), order(0, fewer, .none), order(1, half, interval: 0.2...0.8)]
        var alone: [[Float]] = []
        for order in orders { alone += try await sample([order], rows: 4, threads: 1) }
        #expect(try await sample(orders) == alone)
        #expect(try await sample(orders.reversed(), rows: 4).reversed() == alone)
        #expect(try await alone[0] != sample([order(0, nil)])[0])
    }

    /// A row that has run fewer than two times runs, whatever the profile says: a profile of nothing but skips runs twice.
    @Test func theFirstTwoCallsOfARowRun() async throws {
        let none = [Bool](repeating: false, count: 10), two = (0..<10).map { $0 < 2 }
        #expect(try await sample([order(0, none)]) == sample([order(0, two)]))
    }

    @Test func aProfileOfOtherCallsOrForSeveralAdaptersIsRefused() async throws {
        await #expect(throws: AdmissionError.otherCache(calls: 9, wanted: 10)) { try await sample([order(0, [Bool](repeating: true, count: 9))]) }
        var two = order(0, half)
        two.stages.append(.init(start: 0.5, parts: [.init(adapter: adapters[1], classIndex: 0)]))
        await #expect(throws: AdmissionError.otherCache(calls: 10, wanted: 10)) { try await sample([two]) }
    }

    /// The door in the network: what the blocks added, given back, is the same output.
    @Test func theResidualGivenBackIsTheSameOutput() throws {
        let c = base.configuration, count = 3 * c.inputSize * c.inputSize
        let memory = Memory(capacity: 3 * Memory.paddedCount(count) + Memory.paddedCount(c.tokens * c.hiddenSize))
        let x = memory.take(1, count), out = memory.take(1, count), again = memory.take(1, count), residual = memory.take(c.tokens, c.hiddenSize)
        Philox(seed: 1, stream: 1).normals(into: x)
        let adapterSlots = AdapterSlots(base.layout, count: 1, classRows: base.classes.rows)
        adapterSlots.install(adapters[0].vector, base.classes, slot: 0)
        let batch = DiTBatch(try InferenceDiT(base), adapterSlots: adapterSlots, rows: 1, pool: ThreadPool(threads: 1))
        batch.forward(x: x, times: [300], classes: [2], slots: [0], cacheActions: [.keep(residual)], into: out)
        batch.forward(x: x, times: [300], classes: [2], slots: [0], cacheActions: [.skip(residual)], into: again)
        let size = out.array.reduce(0) { max($0, abs($1)) }
        for (a, b) in zip(out.array, again.array) { #expect(abs(a - b) < 1e-4 * size) }
        #expect(residual.array.contains { abs($0) > 0.01 })
    }

    /// Calibrating gives schedules that rise in tolerance and fall in agreement, and whose best is nearly the same picture.
    @Test func calibrationMeasuresWhatTheEngineDoes() async throws {
        let pool = ThreadPool(threads: 2)
        let engine = try SamplingEngine(base, options: .unbounded, pool: pool)
        let plan = try SamplingPlan(.ddim, steps: 10, engine.convention, clips: true)
        let calibration = CacheCalibration(base, adapters[0], plan, images: 2, guidanceScale: 2, pool: pool, tolerances: [0.5, 2, 100])
        let measured = try await calibration.measure(with: engine)
        #expect(!measured.isEmpty)
        #expect(measured.allSatisfy { $0.runs.count == 10 && $0.runs[0] && $0.runs[1] && $0.runs[2] && $0.runs[9] })
        #expect(measured.map(\.tolerance) == measured.map(\.tolerance).sorted())
        let counts = measured.map { $0.runs.count { $0 } }
        #expect(counts.last ?? 10 <= counts.first ?? 0)
        let worst = measured.map(\.psnr).min() ?? 0
        let found = calibration.profile(.fast, measured, atLeast: worst)
        let profile = try #require(found)
        #expect(profile.runCount == counts.min())
        #expect(profile.psnr >= worst)
        #expect(profile.sampler == "ddim")
        #expect(profile.steps == 10)
        let none = calibration.profile(.balanced, measured, atLeast: .infinity)
        #expect(none == nil)
    }
}
