import AdapterComposer
import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import Distillation
import Foundation
import TensorMath
import Testing

/// A vector that gives a sparse base back what it lost, on a small random base and its sparse one.
@Suite final class RecoveringTests {
    private let folder = FileManager.default.temporaryDirectory.appending(path: "difffit-recovering-\(UUID())").path
    private let dense, sparse: BaseFile
    private let pool = ThreadPool(threads: 2)

    init() throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let c = DiTConfiguration(inputSize: 8, patchSize: 2, inChannels: 3, hiddenSize: 32, depth: 2, numHeads: 2, numClasses: 2, learnSigma: false)
        func normals(_ count: Int, _ stream: UInt64, _ deviation: Float) -> [Float] {
            var values = [Float](repeating: 0, count: count)
            Philox(seed: 5, stream: stream).normals(into: &values)
            return values.map { $0 * deviation }
        }
        let layout = TunableLayout(c), vector = zip(TunableVector.neutral(layout).values, normals(layout.count, 1, 0.05)).map { $0 + $1 }
        var stream: UInt64 = 10
        try BaseFile.write(
            to: folder + "/dense.safetensors", c,
            card: BaseCard(name: "small", prediction: "x0", path: "linear", timeScale: 1000, classNames: ["a", "b"]),
            vector: TunableVector(vector, layout: layout), classes: ClassTable(names: ["a", "b"], values: normals(3 * 32, 2, 0.5)), as: .f32
        ) { name in
            stream += 1
            return normals(c.frozenTensors.first { $0.name == name }?.count ?? 0, stream, 0.15)
        }
        let dense = try BaseFile(path: folder + "/dense.safetensors")
        try BaseSparsification(dense, .magnitude, nil, pool: ThreadPool(threads: 1)).write(named: "sparse", to: folder + "/sparse.safetensors")
        self.dense = dense
        sparse = try BaseFile(path: folder + "/sparse.safetensors")
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    private func recovery(
        on base: BaseFile, lowRank: LowRank? = nil, domains: [TeacherDomain] = [], steps: Int = 4
    ) throws -> (source: RecoverySource, run: TrainingRun) {
        var settings = TrainingSettings(steps: steps, batch: 4, seed: 3, learningRate: 1e-2)
        (settings.labelDropout, settings.warmup, settings.validationInterval) = (0, 1, 1000)
        let own = TeacherDomain(name: "base", digest: dense.digest, vector: dense.vector, classes: dense.classes)
        let teacher = try GuidedTeacher(dense, [own] + domains, guidance: ImageGuidance(.cfg, scale: 3), pool: pool)
        let plan = try SamplingPlan(.euler, steps: 4, teacher.convention, clips: teacher.clips)
        let source = RecoverySource(base, teacher, layout: base.layout.over(lowRank), plan: plan, settings: settings)
        return (source, try .distilling(settings, TrainableSet(lowRank == nil ? .difffit : .lora, base.configuration), source, pool: pool))
    }

    /// A base that lost nothing has nothing to learn; a sparse one has, also under a domain of the dense one.
    @Test func whatLostNothingHasNoLoss() throws {
        let domain = TeacherDomain(
            name: "domain", digest: Digest(of: Data("domain".utf8)),
            vector: TunableVector(dense.vector.values.enumerated().map { $1 + Float($0 % 7) * 0.01 }, layout: dense.layout), classes: dense.classes)
        for domains in [[], [domain]] {
            let same = try recovery(on: dense, domains: domains), lost = try recovery(on: sparse, domains: domains)
            for _ in 0..<3 {
                #expect(try same.run.advance() < 1e-8)
                #expect(try lost.run.advance() > 1e-3)
            }
            // Measured without guidance, whatever the trajectories are guided by.
            #expect(try same.source.heldOutError(same.run.model, same.run.values, pool: pool) < 1e-9)
        }
    }

    /// It learns, as biases and scales or as low-rank pairs, and its record names the dense base.
    @Test(arguments: [nil, LowRank(ranks: ["blocks.0.mlp.fc1": 8, "blocks.1.mlp.fc1": 8, "blocks.0.attn.qkv": 8], scale: 1)])
    func itLearns(lowRank: LowRank?) throws {
        let (source, run) = try recovery(on: sparse, lowRank: lowRank, steps: 50)
        let before = try source.heldOutError(run.model, run.values, pool: pool)
        for _ in 0..<50 { try run.advance() }
        #expect(try source.heldOutError(run.model, run.average, pool: pool) < 0.9 * before)
        var record = DistillationRecord(role: .recovery, method: "regression", domains: [], guidance: "none", guidanceScale: 1, guidanceInterval: [0, 1])
        record.recovers = dense.digest
        let path = folder + "/recovery-\(lowRank == nil).safetensors", written = try run.writeDistilled(record, source, named: "recovery", to: path)
        let read = try AdapterFile.read(path: path, base: sparse)
        #expect(read == written)
        #expect(read.manifest.role == "recovery")
        #expect(read.manifest.distillation?.recovers == dense.digest)
        #expect(read.manifest.baseDigest == sparse.digest)
        #expect(throws: AdapterFormatError.self) { try AdapterFile.read(path: path, base: dense) }
    }
}
