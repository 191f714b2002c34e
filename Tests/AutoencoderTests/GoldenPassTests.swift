import Foundation
import GoldenFiles
import Autoencoder
import TensorFiles
import TensorMath
import Testing

/// diffusers' AutoencoderKL with random weights, recorded by tools/goldens/vae.py.
@Suite struct GoldenPassTests {
    static func path(_ name: String) -> String {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/\(name).safetensors").path
    }

    static let forms: [WeightForm] = Array(Set([.plain, .best(for: .f32)]))

    /// Values of image `index` of a recorded tensor (n, ...).
    static func image(_ index: Int, of golden: Golden, _ name: String) -> (values: [Float], sides: [Int]) {
        let (shape, values) = golden.tensors[name]!
        let count = values.count / shape[0]
        return (Array(values[(index * count)..<((index + 1) * count)]), Array(shape.dropFirst()))
    }

    @Test(arguments: forms)
    func decodedImagesAgree(form: WeightForm) throws {
        let autoencoder = try AutoencoderKL(path: Self.path("vae-small")), passes = try Golden("vae-small-passes")
        for (index, latentName, imageName) in [(0, "latent", "image"), (1, "latent", "image"), (0, "latent_5x7", "image_5x7")] {
            let latent = Self.image(index, of: passes, latentName), expected = Self.image(index, of: passes, imageName)
            let decoder = try LatentDecoder(
                autoencoder, latentHeight: latent.sides[1], latentWidth: latent.sides[2], pool: ThreadPool(threads: 2), form)
            #expect(decoder.imageSize == (expected.sides[1], expected.sides[2]))
            // The file was recorded without the scaling factor.
            let scaled = latent.values.map { $0 * autoencoder.configuration.scalingFactor }
            for _ in 0..<2 { #expect(relativeError(decoder.decode(scaled.span), expected.values) < 1e-5) }
        }
    }

    @Test(arguments: forms)
    func posteriorOfAnAsymmetricImageAgrees(form: WeightForm) throws {
        let autoencoder = try AutoencoderKL(path: Self.path("vae-small")), passes = try Golden("vae-small-passes")
        let image = Self.image(0, of: passes, "input")
        let encoder = try LatentEncoder(autoencoder, height: image.sides[1], width: image.sides[2], pool: ThreadPool(threads: 2), form)
        let posterior = encoder.encode(image.values.span)
        #expect(relativeError(posterior.mean, passes["mean"]) < 1e-5)
        #expect(relativeError(posterior.logVariance, passes["logvar"]) < 1e-5)
    }

    @Test func bfloat16StaysNear() throws {
        guard WeightForm.best(for: .bf16).dtype == .bf16 else { return }
        let autoencoder = try AutoencoderKL(path: Self.path("vae-small")), passes = try Golden("vae-small-passes")
        let latent = Self.image(0, of: passes, "latent").values.map { $0 * autoencoder.configuration.scalingFactor }
        let decoder = try LatentDecoder(autoencoder, latentHeight: 8, latentWidth: 8, pool: ThreadPool(threads: 2), .packed(.bf16))
        let error = relativeError(decoder.decode(latent.span), Self.image(0, of: passes, "image").values)
        #expect(error < 0.03, "bfloat16 rounds to 8 bits: \(error)")
        #expect(error > 1e-4, "bfloat16 rounds to 8 bits: \(error)")
    }

    /// Law 5 inside one image: the strips are dealt to any number of threads.
    @Test(arguments: Array(Set(forms + [.best(for: .bf16)])))
    func lanesDoNotChangeABit(form: WeightForm) throws {
        let autoencoder = try AutoencoderKL(path: Self.path("vae-small")), passes = try Golden("vae-small-passes")
        let latent = Self.image(0, of: passes, "latent").values, image = Self.image(0, of: passes, "input")
        let results = try [1, 2, 3].map { threads in
            let pool = ThreadPool(threads: threads)
            let decoder = try LatentDecoder(autoencoder, latentHeight: 8, latentWidth: 8, pool: pool, form)
            let encoder = try LatentEncoder(autoencoder, height: image.sides[1], width: image.sides[2], pool: pool, form)
            return decoder.decode(latent.span) + encoder.encode(image.values.span).mean
        }
        #expect(results[0] == results[1])
        #expect(results[0] == results[2])
    }

    /// The recorded model that the reference describes is too large for the repository; a folder of it may be named.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["DIFFFIT_GOLDENS"] != nil))
    func largerRecordedModelAgrees() throws {
        let folder = ProcessInfo.processInfo.environment["DIFFFIT_GOLDENS"] ?? ""
        let autoencoder = try AutoencoderKL(path: folder + "/dit-tiny-diffusers/vae/diffusion_pytorch_model.safetensors")
        let recorded = try TensorFile(path: folder + "/vae-tiny.safetensors")
        let pool = ThreadPool(threads: 2)
        for form in Self.forms {
            for (latentName, imageName) in [("latent", "image"), ("latent_5x7", "image_5x7")] {
                let shape = try recorded.entry(latentName).shape, count = shape.dropFirst().reduce(1, *)
                let latents = try recorded.floats(latentName).map { $0 * 0.18215 }, images = try recorded.floats(imageName)
                let decoder = try LatentDecoder(autoencoder, latentHeight: shape[2], latentWidth: shape[3], pool: pool, form)
                let decoded = (0..<shape[0]).flatMap { decoder.decode(Array(latents[($0 * count)..<(($0 + 1) * count)]).span) }
                #expect(relativeError(decoded, images) < 1e-5)
            }
            let images = try recorded.floats("input")
            let encoder = try LatentEncoder(autoencoder, height: 64, width: 64, pool: pool, form)
            let posteriors = (0..<2).map { encoder.encode(Array(images[($0 * 12288)..<(($0 + 1) * 12288)]).span) }
            #expect(relativeError(posteriors.flatMap(\.mean), try recorded.floats("mean")) < 1e-5)
            #expect(relativeError(posteriors.flatMap(\.logVariance), try recorded.floats("logvar")) < 1e-5)
        }
    }
}
