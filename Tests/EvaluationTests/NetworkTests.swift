import AdapterFormat
import DiTModel
import Diffusion
import Evaluation
import Foundation
import GoldenFiles
import TensorMath
import Testing

@Suite struct DenoisingErrorTests {
    private static let shape = GoldenModels.pixel

    /// The error of a network whose every output is zero, on constant images of a half.
    private func errorOfNothing(_ convention: DiffusionConvention, images: Int = 6, seed: UInt64 = 0, threads: Int = 2) throws -> DenoisingError {
        let (weights, _) = Weights.allocate(Self.shape)
        let layout = TunableLayout(Self.shape)
        let adapterSlots = AdapterSlots(layout, count: 1, classRows: 6)
        adapterSlots.install(.neutral(layout), ClassTable(names: ["a", "b", "c", "d", "e"], values: [Float](repeating: 0, count: 6 * 48)), slot: 0)
        let pool = ThreadPool(threads: threads)
        let data = LabelledLatents(labels: (0..<images).map { $0 % 6 }, size: 768, pool: pool) { $1.fill(0.5) }
        return DenoisingError.measure(
            try InferenceDiT(DiT(Self.shape, weights: weights)), tunables: adapterSlots.tunables[0], objective: TrainingObjective(convention), images: data,
            buckets: 8,
            bootstrap: Bootstrap(resamples: 20), seed: seed, pool: pool)
    }

    @Test func velocityErrorOfAnX0NetworkInClosedForm() throws {
        let error = try errorOfNothing(try DiffusionConvention(path: .rectifiedFlow, prediction: .x0))
        #expect(error.buckets.map(\.time) == (0..<8).map { (Double($0) + 0.5) / 8 })
        for bucket in error.buckets {
            // (0 - 0.5)^2 over the squared divisor, whatever the noise.
            let expected = 0.25 / pow(max(1 - bucket.time, 0.05), 2)
            #expect(abs(bucket.error.value / expected - 1) < 1e-5)
            #expect(bucket.error.standardError < 1e-5 * expected)
        }
        #expect(abs(error.mean.value - error.buckets.map(\.error.value).reduce(0, +) / 8) < 1e-5 * error.mean.value)
    }

    @Test func epsilonErrorIsTheNoisesOwnPower() throws {
        let convention = try DiffusionConvention(path: .vp, prediction: .epsilon)
        let error = try errorOfNothing(convention)
        #expect(error.buckets.first?.time == 62)
        #expect(error.buckets.last?.time == 937)
        // A mean of 768 squares of normals for each of 48: 1 within a few hundredths.
        #expect(abs(error.mean.value - 1) < 0.03)
        #expect(error.mean.standardError > 0.001)
        #expect(error.mean.standardError < 0.03)
        #expect(try error == errorOfNothing(convention, threads: 1))
        #expect(try error != errorOfNothing(convention, seed: 1))
        #expect(error.change(from: error, bootstrap: Bootstrap()) == Estimate(value: 0, standardError: 0))
    }

    @Test func anImageMeetsTheSameNoiseInASmallerSet() throws {
        let convention = try DiffusionConvention(path: .rectifiedFlow, prediction: .velocity)
        #expect(try Array(errorOfNothing(convention).perImage.prefix(3)) == errorOfNothing(convention, images: 3).perImage)
    }
}

@Suite struct FrozenFeatureTests {
    @Test func featuresAreTheMiddleBlocksTokenMean() throws {
        let base = try BaseFile(path: Goldens.path("dit-pixel"))
        let model = try InferenceDiT(base)
        let convention = try DiffusionConvention(path: .rectifiedFlow, prediction: .x0)
        let features = FrozenFeatures(model, base: base, convention: convention)
        #expect(features.time == 0.9)
        #expect(features.block == 0)
        #expect(features.width == 48)
        let images = normals(5, 768, stream: 4)
        let measured = features.measure(images, pool: ThreadPool(threads: 2))
        #expect(measured.array == features.measure(images, pool: ThreadPool(threads: 1)).array)
        #expect(measured.rows(0..<2).array == features.measure(images.rows(0..<2), pool: ThreadPool(threads: 2)).array)

        // The same from a network call of its own: the recorded model's block 0 at t = 900, null class, noise of image 3.
        let mixed = normals(1, 768, stream: 0)
        Philox(seed: 0, stream: 1 << 61 | 3 << 8 | 0xff).normals(into: mixed)
        mixed.withMutableSpan { for i in $0.indices { $0[i] = 0.1 * $0[i] + 0.9 * images[3, i] } }
        let golden = try Golden("dit-pixel")
        let layout = TunableLayout(GoldenModels.pixel)
        let tunables = [Tunables(layout, values: row(golden.vector(layout).values), classTable: golden.matrix(TunableLayout.classTableName, rows: 6))]
        var stages: [[Float]] = []
        model.forward(x: mixed, times: [900], classes: [5], tunables: tunables[0], into: normals(1, 768, stream: 0)) { stages.append($0) }
        let mean = (0..<48).map { column in (0..<16).reduce(Float(0)) { $0 + stages[1][$1 * 48 + column] } / 16 }
        #expect(relativeError(measured.row(3).array, mean) < 1e-5)
    }

    @Test func theVPPathsTimeIsTheNearestBelowTheSameRatio() throws {
        let base = try BaseFile(path: Goldens.path("dit-pixel"))
        let features = FrozenFeatures(try InferenceDiT(base), base: base, convention: .dit)
        let abar = VPSchedule.training.alphasCumprod, t = Int(features.time)
        #expect((1 - abar[t]) / abar[t] <= 1.0 / 81)
        #expect((1 - abar[t + 1]) / abar[t + 1] > 1.0 / 81)
        #expect(features.description.contains("t = \(t)"))
        #expect(features.description.contains("block 1 of 3"))
    }

    private func row(_ values: [Float]) -> Matrix {
        let matrix = Memory(capacity: values.count + 16).take(values.count)
        matrix.copy(from: values)
        return matrix
    }
}

private enum Goldens {
    static func path(_ name: String) -> String {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/\(name).safetensors").path
    }
}
