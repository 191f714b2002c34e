import AdapterFormat
import DiTModel
import Diffusion
import Foundation
import SamplingEngine
import TensorMath
import Testing

@Suite struct SamplingEngineTests {
    private let base: BaseFile
    private let plan: SamplingPlan

    init() throws {
        let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/dit-pixel.safetensors").path
        base = try BaseFile(path: path)
        plan = try SamplingPlan(.ddpm, steps: 5, DiffusionConvention(path: .linearVP, prediction: .epsilon))
    }

    private func engine(rows: Int, lanes: Int) throws -> SamplingEngine {
        let engine = try SamplingEngine(base, rows: rows, domains: 2, pool: ComputePool(lanes: lanes))
        engine.install(TunableVector(base.vector.values.map { $0 * 1.25 }, layout: base.layout), base.classes, row: 1)
        return engine
    }

    /// Laws 5 and 6: an image is what its domain, class, seed and index make it, in any company and order.
    @Test(arguments: [(2, 1), (8, 2), (32, 2)])
    func anImageIsTheSameInAnyBatch(rows: Int, lanes: Int) throws {
        let requests = (0..<7).map {
            ImageRequest(domain: $0 % 2, classIndex: $0 % 5, seed: UInt64($0 / 3), index: UInt64($0), guidanceScale: $0 == 4 ? 1 : 2.5)
        }
        let alone = try requests.map { try engine(rows: 2, lanes: 1).sample([$0], plan)[0].map(\.bitPattern) }
        let together = try engine(rows: rows, lanes: lanes).sample(requests.reversed(), plan).reversed().map { $0.map(\.bitPattern) }
        #expect(Array(together) == alone)
        #expect(Set(alone.map { $0[0] }).count == 7)
    }

    @Test func seedAndIndexEachChangeTheImage() throws {
        let engine = try engine(rows: 16, lanes: 1)
        let requests = (0..<6).map { ImageRequest(domain: 0, classIndex: 1, seed: UInt64($0 % 2), index: UInt64($0 / 2), guidanceScale: 2) }
        let images = engine.sample(requests, plan)
        for (i, image) in images.enumerated() { #expect(!images[..<i].contains(image), "image \(i)") }
    }

    @Test func aSwapChangesTheNextImageAndSwappingBackRestoresIt() throws {
        let engine = try engine(rows: 4, lanes: 1)
        let request = ImageRequest(domain: 0, classIndex: 1, seed: 3, index: 0, guidanceScale: 2)
        let before = engine.sample([request], plan)
        engine.install(TunableVector(base.vector.values.map { $0 * 1.25 }, layout: base.layout), base.classes, row: 0)
        #expect(engine.sample([request], plan) != before)
        engine.install(base.vector, base.classes, row: 0)
        #expect(engine.sample([request], plan) == before)
    }

    /// Law 7: the matrices lie on pages that cannot be written.
    @Test func writingAFrozenMatrixEndsTheProgram() async {
        await #expect(processExitsWith: .signal(SIGSEGV)) {
            let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            let base = try BaseFile(path: folder.appending(path: "Goldens/dit-pixel.safetensors").path)
            try DiT(base).weights.blocks[0].qkv.fill(0)
        }
    }
}
