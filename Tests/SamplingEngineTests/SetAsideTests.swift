import AdapterFormat
import DiTModel
import Diffusion
import Foundation
import GoldenFiles
import Autoencoder
import SamplingEngine
import TensorMath
import Testing

extension SamplingEngine {
    /// All before the next step, so that who gives way to whom does not hang on the machine's load.
    fileprivate func submit(all requests: [SamplingRequest]) throws -> [SamplingTicket] { try requests.map(submit) }
}

/// Laws 5 and 6 hold over setting aside: an image that gave way to others, and whose adapters came back in other slots,
/// has the bytes that it has alone.
@Suite struct SetAsideTests {
    private let base: BaseFile
    private let adapters: [BoundAdapter]

    init() throws {
        let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/dit-pixel.safetensors").path
        base = try BaseFile(path: path)
        adapters = [BaseFile](repeating: base, count: 5).enumerated().map { domain, base in
            BoundAdapter(
                name: "domain-\(domain)", digest: Digest(of: Data("domain \(domain)".utf8)),
                vector: TunableVector(base.vector.values.map { $0 * (1 + 0.2 * Float(domain)) }, layout: base.layout), classes: base.classes, grid: nil)
        }
    }

    /// One image of every kind: each guidance, an interval, a change of adapter on the way, added predictions, the residual cache.
    private func orders(calls: Int, seed: UInt64) -> [ImageOrder] {
        let plain = { (domain: Int) in ImageOrder.Stage(parts: [.init(adapter: adapters[domain], classIndex: domain)]) }
        let second = ImageOrder.Stage(start: 0.5, parts: [.init(adapter: adapters[3], classIndex: 2)])
        let mixed = ImageOrder.Stage(parts: [.init(adapter: adapters[0], classIndex: 1, weight: 0.5), .init(adapter: adapters[4], classIndex: 0, weight: 0.5)])
        var cached = ImageOrder(stages: [plain(1)], seed: seed, index: 5, guidance: ImageGuidance(scale: 2))
        cached.cache = (0..<calls).map { $0 < 2 || $0 % 2 == 0 || $0 == calls - 1 }
        return [
            ImageOrder(stages: [plain(0)], seed: seed, index: 0, guidance: ImageGuidance(.none, scale: 1)),
            ImageOrder(stages: [plain(1)], seed: seed, index: 1, guidance: ImageGuidance(.cfg, scale: 2.5)),
            ImageOrder(stages: [plain(2)], seed: seed, index: 2, guidance: ImageGuidance(.domain, scale: 2)),
            ImageOrder(stages: [plain(0), second], seed: seed, index: 3, guidance: ImageGuidance(.cfg, scale: 2, interval: 0.2...0.8)),
            ImageOrder(stages: [mixed], seed: seed, index: 4, guidance: ImageGuidance(.none, scale: 1)), cached,
        ]
    }

    private func engine(rows: Int, domains: Int, _ base: BaseFile? = nil, autoencoder: AutoencoderKL? = nil) throws -> SamplingEngine {
        var options = EngineOptions.unbounded
        (options.rows, options.domains) = (rows, domains)
        return try SamplingEngine(base ?? self.base, options: options, pool: ThreadPool(threads: 2), autoencoders: BaseAutoencoders(full: autoencoder))
    }

    /// Several clients of one small engine: every image gives way now and then.
    private func contended(_ requests: [[ImageOrder]], _ sampler: Sampler, steps: Int, _ engine: SamplingEngine) async throws -> [[FinishedImage]] {
        let tickets = try await engine.submit(
            all: requests.enumerated().map { SamplingRequest(client: "\($0)", images: $1, sampler: sampler, steps: steps) })
        var results: [[FinishedImage]] = []
        for (ticket, images) in zip(tickets, requests) {
            var found = [FinishedImage?](repeating: nil, count: images.count)
            for await event in ticket.events { if case .image(let index, let image) = event { found[index] = image } }
            results.append(found.compactMap { $0 })
        }
        return results
    }

    /// The same orders alone, and in one large request that small ones pass.
    private func check(_ sampler: Sampler, _ orders: [ImageOrder], steps: Int, _ base: BaseFile, autoencoder: AutoencoderKL? = nil) async throws {
        var alone: [FinishedImage] = []
        for order in orders {
            let request = SamplingRequest(client: "x", images: [order], sampler: sampler, steps: steps)
            alone += try await engine(rows: 4, domains: 4, base, autoencoder: autoencoder).sample(request).images
        }
        let engine = try engine(rows: 2, domains: 2, base, autoencoder: autoencoder)
        let together = try await contended([orders] + orders.map { [$0] }, sampler, steps: steps, engine)
        let status = await engine.status()
        #expect(status.setAsides > 3, "\(status.setAsides) set aside")
        #expect(status.setAsideImages == 0, "\(status.setAsides) set aside")
        for (a, b) in zip(alone + alone, together.flatMap { $0 }) {
            #expect(a.latent.map(\.bitPattern) == b.latent.map(\.bitPattern))
            #expect(a.picture?.pixels == b.picture?.pixels)
        }
        #expect(together.map(\.count) == [orders.count] + orders.map { _ in 1 })
    }

    @Test(arguments: [Sampler.ddpm, .ddim, .dpmpp2m, .unipc])
    func everySamplerAndGuidance(sampler: Sampler) async throws {
        try await check(sampler, orders(calls: 10, seed: 3), steps: 10, base)
    }

    /// Heun's two calls a step, and a sampler that remembers the step before.
    @Test(arguments: [(Sampler.euler, 10), (.heun, 19), (.ab2, 10)])
    func everySamplerOfTheLinearPath(sampler: Sampler, calls: Int) async throws {
        var card = base.card
        (card.path, card.prediction) = ("linear", "x0")
        let linear = try BaseFile(path: base.file.path, card: card, digest: base.digest)
        try await check(sampler, orders(calls: calls, seed: 4), steps: 10, linear)
    }

    /// Latents, learned variance and pictures through an autoencoder.
    @Test func latentsAndTheirPictures() async throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens").path
        let latent = try BaseFile(path: folder + "/dit-tiny.safetensors")
        let adapter = BoundAdapter(name: "base", digest: latent.digest, vector: latent.vector, classes: latent.classes, grid: nil)
        let orders = (0..<4).map { ImageOrder(adapter: adapter, classIndex: $0, seed: 5, index: UInt64($0), guidanceScale: 3) }
        try await check(.ddpm, orders, steps: 20, latent, autoencoder: AutoencoderKL(path: folder + "/vae-small.safetensors"))
    }

    /// Steps are counted, not network calls, whatever the sampler: 5 of 5 for Heun's 9 calls.
    @Test func progressCountsSteps() async throws {
        var card = base.card
        (card.path, card.prediction) = ("linear", "x0")
        let linear = try BaseFile(path: base.file.path, card: card, digest: base.digest)
        let order = ImageOrder(adapter: adapters[1], classIndex: 0, seed: 1, index: 0, guidanceScale: 2)
        for sampler in [Sampler.euler, .heun] {
            var told: [[Int]] = []
            let request = SamplingRequest(client: "x", images: [order, order], sampler: sampler, steps: 5)
            _ = try await engine(rows: 4, domains: 2, linear).sample(request) { event in
                if case .progress(let step, let steps) = event { told.append([step, steps]) }
            }
            #expect(told == (1...10).map { [$0, 10] }, "\(sampler)")
        }
    }
}
