import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import Foundation
import ImageFiles
import Autoencoder
import TensorFiles
import TensorMath
import Testing

@Suite final class LatentCacheTests {
    private let folder = FileManager.default.temporaryDirectory.appending(path: "latents-\(UUID().uuidString)").path
    private let pool = ThreadPool(threads: 2)
    private let autoencoder: AutoencoderKL

    init() throws { autoencoder = try AutoencoderKL(path: Self.golden("vae-small")) }

    deinit { try? FileManager.default.removeItem(at: URL(filePath: folder)) }

    private static func golden(_ name: String) -> String {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/\(name).safetensors").path
    }

    /// Pictures of 16 pixels that are no mirror images of themselves.
    private func data(_ numbers: [Int]) -> TrainingData {
        let images = numbers.map { number in
            RGBImage(width: 16, height: 16, pixels: (0..<768).map { UInt8(($0 * $0 * (number + 1) / 7 + $0) % 256) })
        }
        return TrainingData(classNames: ["a", "b"], size: 16, images: images, labels: numbers.map { $0 % 2 }, summary: "test")
    }

    private func cache(_ digest: String = "vae") throws -> LatentCache {
        try LatentCache(folder: folder, autoencoder: autoencoder, digest: Digest(of: Data(digest.utf8)))
    }

    /// The sample of image `index` with noise of one value everywhere.
    private func sample(_ table: LatentTable, _ index: Int, flipped: Bool, noise: Float) -> [Float] {
        let x = Memory(capacity: 256).take(table.count)
        x.fill(noise)
        table.sample(index, flipped: flipped, into: x)
        return x.array
    }

    /// A tiny encoder's latents are not drawn: the noise of a step changes nothing, from the cache either.
    @Test func aTinyEncodersLatentsAreNotDrawn() throws {
        let tiny = try AutoencoderTiny(path: Self.golden("vae-tiny-4")), data = data([3])
        let cache = try LatentCache(folder: folder, autoencoder: tiny, digest: Digest(of: Data("tiny".utf8)))
        let image = Memory(capacity: 1024).take(768)
        data.copy(0, flipped: false, into: image)
        let encoder = try LatentEncoder(tiny, height: 16, width: 16, pool: pool)
        let expected = image.withSpan { encoder.encode($0).mean }
        for _ in 0..<2 {
            let table = try cache.posteriors(of: data, mirrored: false, pool: pool)
            for noise in [Float(0), 2] { #expect(sample(table, 0, flipped: false, noise: noise) == expected) }
        }
    }

    @Test func samplesAreThoseOfTheEncoder() throws {
        let data = data([0, 1, 2])
        let table = try cache().posteriors(of: data, mirrored: true, pool: pool)
        let encoder = try LatentEncoder(autoencoder, height: 16, width: 16, pool: pool)
        let image = Memory(capacity: 1024).take(768)
        for index in 0..<3 {
            for flipped in [false, true] {
                data.copy(index, flipped: flipped, into: image)
                let posterior = image.withSpan { encoder.encode($0) }
                for noise in [Float(0), 0.5] {
                    let expected = zip(posterior.mean, posterior.logVariance).map { ($0 + exp($1 / 2) * noise) * 0.18215 }
                    let got = sample(table, index, flipped: flipped, noise: noise)
                    #expect(zip(got, expected).allSatisfy { abs($0 - $1) <= 1e-6 * max(1, abs($1)) })
                }
            }
        }
        #expect(sample(table, 0, flipped: false, noise: 0) != sample(table, 0, flipped: true, noise: 0))
    }

    /// The same pictures through another autoencoder are other data: a checkpoint of one is not gone on from.
    @Test func theDigestKnowsTheAutoencoder() throws {
        let data = data([0, 1])
        func seen(_ vae: String) throws -> Digest { try data.seen(through: cache(vae).posteriors(of: data, mirrored: false, pool: pool)).digest }
        #expect(try seen("vae") == seen("vae"))
        #expect(try Set([data.digest, seen("vae"), seen("other")]).count == 3)
    }

    @Test func everyImageIsEncodedOnce() throws {
        var encoded = 0
        func take(_ numbers: [Int], mirrored: Bool, digest: String = "vae") throws -> LatentTable {
            try cache(digest).posteriors(of: data(numbers), mirrored: mirrored, pool: pool) { encoded = $1 }
        }
        let first = try take([0, 1], mirrored: true)
        #expect(encoded == 2)
        // One more image, in another order; its companions come from the disk, to the bit.
        let second = try take([5, 1, 0], mirrored: true)
        #expect(encoded == 1)
        #expect(sample(second, 2, flipped: true, noise: 1) == sample(first, 0, flipped: true, noise: 1))
        #expect(sample(second.choosing([2, 1]), 1, flipped: false, noise: 1) == sample(first, 1, flipped: false, noise: 1))
        // Straight posteriors serve a run without flips; those without mirror images do not serve one with them.
        _ = try take([0, 1], mirrored: false)
        #expect(encoded == 0)
        _ = try take([7], mirrored: false)
        _ = try take([7], mirrored: true)
        #expect(encoded == 1)
        // Another autoencoder has latents of its own.
        _ = try take([0, 1], mirrored: true, digest: "other")
        #expect(encoded == 2)
    }

    /// A run on a latent base takes a fresh sample of each posterior at every step, and the same ones when it is run again.
    @Test func aRunLearnsFreshSamples() throws {
        let base = try BaseFile(path: Self.golden("dit-tiny"))
        let images = (0..<4).map { number -> RGBImage in
            let pixels: [UInt8] = (0..<3072).map { at in
                let value: Int = at * (number + 3) + at / 96
                return UInt8(value % 256)
            }
            return RGBImage(width: 32, height: 32, pixels: pixels)
        }
        let pictures = TrainingData(classNames: ["a", "b"], size: 32, images: images, labels: [0, 1, 0, 1], summary: "test")
        let data = pictures.seen(through: try cache().posteriors(of: pictures, mirrored: true, pool: pool))
        #expect(data.valueCount == 4 * 8 * 8)
        let x = Memory(capacity: 1024).take(256)
        let samples = (0..<3).map { step in
            data.draw(0, flipped: false, TrainingDraws(seed: 1, step: step % 2, image: 0), into: x)
            return x.array
        }
        #expect(samples[0] != samples[1])
        #expect(samples[0] == samples[2])
        var settings = TrainingSettings(steps: 3, batch: 4, seed: 1, learningRate: 1e-3)
        settings.flips = true
        let losses = try (0..<2).map { _ in
            let run = try TrainingRun.adapter(
                settings, TrainableSet(.difffit, base.configuration), base: base, model: try DiT(base), data: data, pool: pool)
            return try (0..<3).map { _ in try run.advance() }
        }
        #expect(losses[0] == losses[1])
        #expect(losses[0].allSatisfy { $0.isFinite && $0 > 0 })
    }

    @Test func aDamagedFileIsNamed() throws {
        _ = try cache().posteriors(of: data([0]), mirrored: false, pool: pool)
        let inner = try #require(FileManager.default.subpaths(atPath: folder)?.first { $0.hasSuffix(".safetensors") })
        try Data("no tensors here".utf8).write(to: URL(filePath: folder + "/" + inner))
        #expect(throws: TensorFileError.self) { try cache().posteriors(of: data([0]), mirrored: false, pool: pool) }
    }
}
