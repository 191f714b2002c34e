import AdapterFormat
import DiTModel
import Diffusion
import Foundation
import GoldenFiles
import ImageFiles
import Autoencoder
import SamplingEngine
import TensorFiles
import TensorMath
import Testing

private func path(_ name: String) -> String {
    URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/\(name).safetensors").path
}

/// A base that makes latents, with and without its autoencoder.
@Suite struct LatentPictureTests {
    private let base: BaseFile
    private let adapter: BoundAdapter

    init() throws {
        base = try BaseFile(path: path("dit-tiny"))
        adapter = BoundAdapter(name: "base", digest: base.digest, vector: base.vector, classes: base.classes, grid: nil)
    }

    private func engine(
        _ preset: Preset = .diffusers, autoencoder: String? = "vae-small", tiny: String? = nil, threads: Int = 2
    ) throws -> SamplingEngine {
        var options = EngineOptions.unbounded
        options.rows = 4
        return try SamplingEngine(
            base, options: options, pool: ThreadPool(threads: threads), preset: preset,
            autoencoders: BaseAutoencoders([autoencoder, tiny].compactMap { $0 }.map { try TensorFile(path: path($0)) }))
    }

    private func request(_ images: [ImageOrder], steps: Int = 10) -> SamplingRequest {
        SamplingRequest(client: "test", images: images, sampler: .ddim, steps: steps)
    }

    private func order(_ index: Int) -> ImageOrder {
        ImageOrder(adapter: adapter, classIndex: index, seed: 3, index: UInt64(index), guidanceScale: 4)
    }

    /// diffusers' DiTPipeline: DDIM leading, ten steps, guidance 4 on four channels, its own function of the weights; then the
    /// images of the small autoencoder, recorded from the pipeline's last latents.
    @Test func thePipelineOfDiffusersIsReproduced() async throws {
        let recorded = try Golden("dit-tiny-diffusers-pipeline"), images = try Golden("vae-small-passes")["pipeline_images"]
        let count = 4 * 8 * 8
        let orders = recorded["class_labels"].enumerated().map { index, label in
            let start = Array(recorded["x_T"][(index * count)..<((index + 1) * count)])
            return ImageOrder(
                adapter: adapter, classIndex: Int(label), seed: 0, index: UInt64(index), guidanceScale: 4, given: GivenNoise(start: start))
        }
        var request = request(orders)
        request.traces = true
        let result = try await engine().sample(request)
        for step in 0..<10 {
            for index in 0..<2 {
                let expected = Array(recorded["trajectory"][((step * 2 + index) * count)..<((step * 2 + index + 1) * count)])
                #expect(relativeError(result.latents[index][step], expected) < 1e-4, "step \(step), image \(index)")
            }
        }
        let plane = 32 * 32
        for (index, image) in result.images.enumerated() {
            let picture = try #require(image.picture)
            #expect(picture.width == 32)
            #expect(picture.height == 32)
            let worst = (0..<(3 * plane)).reduce(Float(0)) { worst, at in
                let expected = images[index * 3 * plane + at % 3 * plane + at / 3] * 255
                return max(worst, abs(Float(picture.pixels[at]) - expected))
            }
            // Half a level of rounding, and a hair for float32.
            #expect(worst < 0.51)
        }
        #expect(result.times.decode > .zero)
    }

    /// Law 5 up to the picture, with previews on the way.
    @Test func picturesAreTheSameInAnyCompany() async throws {
        var alone: [RGBImage?] = []
        for index in 0..<3 { alone += try await engine(threads: 1).sample(request([order(index)])).images.map(\.picture) }
        var together = request((0..<3).map(order))
        together.partialImages = 2
        var previews = 0
        let result = try await engine().sample(together) { event in
            if case .partial(_, _, let picture) = event {
                previews += 1
                #expect(picture.width == 32)
            }
        }
        #expect(previews == 6)
        #expect(result.images.map(\.picture) == alone)
    }

    /// The picture that an autoencoder alone makes of a latent.
    private func picture(_ latent: [Float], by name: String) throws -> RGBImage {
        let decoder = try LatentDecoder(
            imageAutoencoder(TensorFile(path: path(name))), latentHeight: 8, latentWidth: 8, pool: ThreadPool(threads: 1))
        return RGBImage(decoder.decode(latent.span), side: 32, halvesUp: false)
    }

    /// Pictures by the full one and previews by the tiny one, where nothing is asked for; else both by what is.
    @Test(arguments: [nil, DecoderKind.full, .tiny])
    func aSecondDecoderMakesPreviewsAndWhatIsAskedOfIt(_ decoder: DecoderKind?) async throws {
        let engine = try engine(tiny: "vae-tiny-4")
        #expect(engine.decoders == [.full, .tiny])
        var request = request([order(1)], steps: 4)
        (request.partialImages, request.traces, request.decoder) = (1, true, decoder)
        var previews: [RGBImage] = []
        let image = try await engine.sample(request) { event in
            if case .partial(_, _, let picture) = event { previews.append(picture) }
        }.images[0]
        let by = { (kind: DecoderKind) in kind == .full ? "vae-small" : "vae-tiny-4" }
        #expect(try image.picture == picture(image.latent, by: by(decoder ?? .full)))
        #expect(try image.picture != picture(image.latent, by: by(decoder == .tiny ? .full : .tiny)))
        // Of the same step, by an engine that has the one alone.
        let alone = by(decoder ?? .tiny)
        var wanted: [RGBImage] = []
        var same = request
        same.decoder = nil
        _ = try await self.engine(autoencoder: alone).sample(same) { event in
            if case .partial(_, _, let picture) = event { wanted.append(picture) }
        }
        #expect(previews.count == 1)
        #expect(previews == wanted)
    }

    @Test func aDecoderThatIsNotThereIsRefused() async throws {
        var tiny = request([order(1)])
        tiny.decoder = .tiny
        let refused = await #expect(throws: AdmissionError.noDecoder(.tiny, has: [.full])) { try await engine().sample(tiny) }
        #expect(refused?.description.contains("no decoder 'tiny', only 'full'") == true)
        // A tiny one alone is the decoder.
        let alone = try engine(autoencoder: "vae-tiny-4")
        #expect(alone.decoders == [.tiny])
        let image = try await alone.sample(request([order(1)])).images[0]
        #expect(try image.picture == picture(image.latent, by: "vae-tiny-4"))
        var full = request([order(1)])
        full.decoder = .full
        await #expect(throws: AdmissionError.noDecoder(.full, has: [.tiny])) { try await alone.sample(full) }
        // Of other latents, and of pictures of another size than the full one's.
        #expect(throws: SamplingEngineError.self) { try engine(autoencoder: "vae-tiny-16") }
        #expect(throws: SamplingEngineError.self) { try engine(tiny: "vae-tiny-16") }
    }

    @Test func withoutAnAutoencoderThereAreLatentsAlone() async throws {
        let engine = try engine(autoencoder: nil)
        #expect(engine.pictureSide == nil)
        await #expect(throws: AdmissionError.noAutoencoder(channels: 4)) { try await engine.sample(request([order(1)])) }
        var latents = request([order(1)])
        latents.latentsOnly = true
        let image = try await engine.sample(latents).images[0]
        #expect(image.picture == nil)
        #expect(image.latent.count == 256)
    }

    @Test func aCancelledRequestLeavesNoPictureBehind() async throws {
        let engine = try engine()
        let ticket = try await engine.submit(request((0..<3).map(order), steps: 2))
        await engine.cancel(ticket.id)
        await engine.drain()
        var last: SamplingEvent?
        for await event in ticket.events { last = event }
        guard case .failed(.cancelled) = last else { return #expect(Bool(false), "it ended with \(String(describing: last))") }
    }
}
