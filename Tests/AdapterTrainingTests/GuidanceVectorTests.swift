import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import Foundation
import TensorMath
import Testing

/// A domain and its guidance vector trained together on pictures: what each batch moves, the gradient, and the files.
@Suite struct GuidanceVectorTests {
    private func run(_ base: BaseFile, steps: Int = 12, seed: UInt64 = 7) throws -> TrainingRun {
        try .adapter(
            Small.settings(steps: steps, seed: seed), TrainableSet(.difffit, base.configuration), base: base, model: DiT(base), data: Small.data, guidance: 3,
            pool: ThreadPool(threads: 2))
    }

    /// Batches at scale 1 leave the vector alone; the others move both. The frozen parts of neither move.
    @Test func batchesMoveWhatTheyShow() throws {
        let folder = try TemporaryFolder()
        let base = try Small.base(in: folder.path), run = try run(base)
        var unguided = 0
        for step in 0..<12 {
            let moves = run.source.moves(ofUpdate: 0, step: step), before = run.values.vectors.map(\.array), table = run.values.classTable.array
            try run.advance()
            #expect(run.values.vectors[0].array != before[0])
            #expect(run.values.classTable.array != table)
            if moves.count == 1 {
                unguided += 1
                #expect(run.values.vectors[1].array == before[1])
            } else {
                #expect(moves[1].gradient > 0)
                #expect(moves[1].gradient <= 1)
                #expect(run.values.vectors[1].array != before[1])
            }
        }
        #expect(unguided > 0)
        #expect(unguided < 12)
    }

    /// The loss of a guided batch along a direction of either vector, by central differences.
    @Test(arguments: [0, 1]) func gradientsAreTheDifferences(vector: Int) throws {
        let folder = try TemporaryFolder()
        let base = try Small.base(in: folder.path), run = try run(base), pool = ThreadPool(threads: 1)
        let step = try #require((0..<12).first { run.source.moves(ofUpdate: 0, step: $0).count == 2 })
        let weight = run.source.moves(ofUpdate: 0, step: step)[vector].gradient
        let gradient = GradientStep(run.model, layout: run.layout, classes: 2, trainsWeights: false, pool: pool, shards: 1)
        let losses = Memory(capacity: 16).take(8)
        // What tau predicts for no class has no gradient: it stays as it was while tau moves.
        let start = run.values.vectors[vector].array
        var direction = [Float](repeating: 0, count: run.layout.count)
        Philox(seed: 3, stream: 0).normals(into: &direction)
        func loss(_ length: Float) -> Double {
            run.values.vectors[vector].copy(from: start)
            let batch = run.source.batch(step: step, update: 0, images: 0..<8, values: run.values, pool: pool)
            // The batch reads its values when it is made; the network is run with what is shown, moved by hand.
            let shown = batch.tunables, moved = Memory(capacity: Memory.paddedCount(run.layout.count)).take(run.layout.count)
            let other = run.values.vectors[1].array, tau = run.values.vectors[0].array
            let weightOfOther = run.source.moves(ofUpdate: 0, step: step)[1].gradient
            let own = base.vector.values
            moved.copy(
                from: tau.indices.map { tau[$0] + weightOfOther * (other[$0] - own[$0]) + length * (vector == 0 ? 1 : weightOfOther) * direction[$0] })
            let tunables = Tunables(run.layout, values: moved, classTable: shown.classTable)
            gradient.run(x: batch.x, times: batch.times, classes: batch.classes, tunables: tunables) { image, output, slope in
                losses[0, image] = batch.loss(image, output, 0.125, slope)
            }
            gradient.finish()
            return losses.array.reduce(0.0) { $0 + Double($1) } / 8
        }
        _ = loss(0)
        let slope = Double(weight) * zip(gradient.gradients.vector.array, direction).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        let h: Float = 2e-3
        let difference = (loss(h) - loss(-h)) / Double(2 * h)
        #expect(abs(difference - slope) < 0.02 * abs(slope) + 1e-3, "\(difference) against \(slope)")
    }

    /// Two files: a domain as any other, and a vector for guidance that says so.
    @Test func bothAreWritten() throws {
        let folder = try TemporaryFolder()
        let base = try Small.base(in: folder.path), run = try run(base, steps: 3)
        for _ in 0..<3 { try run.advance() }
        let domain = try run.writeAdapter(named: "pets", base: base, to: folder.path + "/pets.safetensors")
        let vector = try run.writeGuidance(
            named: "pets-guide", scale: 3, domain: .init(name: "pets", digest: domain.digest), base: base, rounded: false,
            to: folder.path + "/pets-guide.safetensors")
        #expect(domain.manifest.isDomain)
        #expect(domain.vector.values == run.result.vectors[0].array)
        let read = try AdapterFile.read(path: folder.path + "/pets-guide.safetensors", base: base)
        #expect(read == vector)
        #expect(read.manifest.distillation?.guidanceScale == 3)
        #expect(read.classes.names.isEmpty)
    }

    /// Stopped and resumed it ends in the same bytes.
    @Test func aRunGoesOnAsIfItHadNotBeenStopped() throws {
        let folder = try TemporaryFolder()
        let base = try Small.base(in: folder.path), whole = try run(base), first = try run(base), second = try run(base)
        for _ in 0..<12 { try whole.advance() }
        for _ in 0..<5 { try first.advance() }
        try first.save(to: folder.path + "/state.safetensors")
        try second.restore(from: folder.path + "/state.safetensors")
        for _ in 0..<7 { try second.advance() }
        #expect(second.average.all.array == whole.average.all.array)
    }
}
