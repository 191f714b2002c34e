import DiffFit
import Foundation
import ProgramRunner
import Synchronization
import Testing

/// Pictures through the library: the bytes of the program, alone and in company, and every refusal a sentence of a type that callers know.
@Suite(.heavy) struct PipelineTests {
    @Test func aPictureHasTheBytesOfTheProgram() async throws {
        let place = try Workplace()
        let pipeline = try DiffFitPipeline(store: place.store)
        let file = place.path + "/library.png", other = place.path + "/program.png"
        let images = try await pipeline.sample("flowers", class: "tulip", seed: 5, numInferenceSteps: 4, guidanceScale: 2)
        try #require(images.count == 1)
        try images[0].writePNG(to: file)
        let program = try place.adapterctl(
            "sample", "flowers", "--class", "tulip", "--seed", "5", "--steps", "4", "--guidance-scale", "2", "--n", "1", "-o", other)
        #expect(program.code == 0, "\(program.errors)")
        #expect(try Data(contentsOf: URL(filePath: file)) == Data(contentsOf: URL(filePath: other)))
        #expect(images[0].pixels.count == images[0].width * images[0].height * 3)
        #expect(try images[0].digest == place.store.lookup("flowers").digest)
    }

    /// Law 5, from outside; and the domains of one call are swapped without a second load.
    @Test func aPictureIsTheSameInCompany() async throws {
        let place = try Workplace()
        let pipeline = try DiffFitPipeline(store: place.store, threads: 2)
        let requests = [
            ImageRequest("flowers", class: "rose", count: 2, seed: 3), ImageRequest("birds", class: "owl", seed: 4, guidanceScale: 1),
            ImageRequest("0.5*flowers+0.5*birds", class: "birds/owl", seed: 4), ImageRequest("base", class: "class:1", seed: 9, guidance: .none),
        ]
        let together = try await pipeline.sample(requests, numInferenceSteps: 3)
        var alone: [SampledImage] = []
        for request in requests { alone += try await pipeline.sample([request], numInferenceSteps: 3) }
        #expect(together == alone)
        #expect(Set(alone.map(\.pixels)).count == 5)
        #expect(together.map(\.index) == [0, 1, 0, 0, 0])
    }

    @Test func filesAloneGiveTheSamePictures() async throws {
        let place = try Workplace(adapters: ["flowers"])
        let stored = try await DiffFitPipeline(store: place.store).sample("flowers", class: "daisy", seed: 2, numInferenceSteps: 3)
        let pipeline = try DiffFitPipeline(DiffFitBase(path: Shipped.file("base")))
        let digest = try pipeline.loadAdapter(path: Shipped.file("flowers"), as: "blossoms")
        #expect(try digest == place.store.lookup("flowers").digest)
        let loaded = try await pipeline.sample("blossoms", class: "daisy", seed: 2, numInferenceSteps: 3)
        #expect(loaded.map(\.pixels) == stored.map(\.pixels))
        #expect(try pipeline.classNames(of: "blossoms") == pipeline.classNames(of: "\(digest)"))
        #expect(try pipeline.classNames(of: "0.5*blossoms+0.5*base").contains("daisy"))
        await #expect(throws: StoreError.notFound(reference: "blossom", nearest: ["blossoms"])) { try await pipeline.sample("blossom") }
    }

    @Test func progressCountsEveryStepAndACancelledTaskGivesUp() async throws {
        let place = try Workplace(adapters: ["flowers"])
        let pipeline = try DiffFitPipeline(store: place.store)
        let seen = Mutex<[Int]>([])
        _ = try await pipeline.sample("flowers", class: "rose", numInferenceSteps: 3) { progress in
            seen.withLock { $0.append(progress.step) }
            #expect(progress.total == 3)
        }
        #expect(seen.withLock { $0 } == [1, 2, 3])
        let drawing = Task {
            try await pipeline.sample("flowers", count: 2, numInferenceSteps: 1000) { _ in withUnsafeCurrentTask { $0?.cancel() } }
        }
        await #expect(throws: CancellationError.self) { try await drawing.value }
        // What was given up leaves nothing behind.
        #expect(try await pipeline.sample("flowers", class: "rose", numInferenceSteps: 3).count == 1)
    }

    @Test func whatCannotBeIsRefusedInASentence() async throws {
        let place = try Workplace(adapters: ["flowers"])
        let store = place.store, pipeline = try DiffFitPipeline(store: store)
        func refusal(_ kind: DiffFitError.Kind, _ words: String, _ body: () async throws -> Void) async throws {
            do { try await body() } catch let error as DiffFitError {
                #expect(error.kind == kind, "\(error)")
                #expect("\(error)".contains(words), "\(error)")
                return
            }
            Issue.record("nothing was refused where '\(words)' was to be said")
        }
        try await refusal(.incompatible, "are no trainable set") { try store.addAdapter(path: golden("difffit-tiny-adapter"), as: "other") }
        try await refusal(.incompatible, "are no trainable set") { try pipeline.loadAdapter(path: golden("difffit-tiny-adapter"), as: "other") }
        try await refusal(.invalidRequest, "is no adapter name") { try store.addAdapter(path: Shipped.file("birds"), as: "../birds") }
        try await refusal(.notFound, "rose") { _ = try await pipeline.sample("flowers", class: "roze") }
        try await refusal(.invalidRequest, "between 1 and 4096") { _ = try await pipeline.sample("flowers", count: 0) }
        try await refusal(.invalidRequest, "step") { _ = try await pipeline.sample("flowers", numInferenceSteps: 0) }
        try await refusal(.invalidRequest, "ddpm") { _ = try await pipeline.sample("flowers", sampler: .ddpm) }
        try await refusal(.invalidRequest, "guidance scale") { _ = try await pipeline.sample("flowers", guidanceScale: .nan) }
        await #expect(throws: StoreError.notFound(reference: "flowrs", nearest: ["flowers"])) { try await pipeline.sample("flowrs") }
        #expect(throws: StoreError.nameTaken(name: "flowers", digest: try store.lookup("flowers").digest)) {
            try store.addAdapter(path: Shipped.file("birds"), as: "flowers")
        }
        #expect(throws: TensorFileError.self) { try DiffFitBase(path: place.path + "/nothing") }
        #expect(try store.addAdapter(path: Shipped.file("flowers"), as: "flowers") == .unchanged)
        #expect(try store.list().map(\.name) == ["flowers"])
    }

    @Test func aBaseOfLatentsNeedsItsAutoencoder() async throws {
        let latent = try DiffFitBase(path: golden("dit-tiny"))
        let blind = try DiffFitPipeline(latent)
        let error = await #expect(throws: DiffFitError.self) { try await blind.sample("base", class: "class:0", numInferenceSteps: 2) }
        #expect(error?.kind == .invalidRequest)
        let seeing = try DiffFitPipeline(DiffFitBase(path: golden("dit-tiny"), autoencoder: golden("vae-small")))
        let image = try await seeing.sample("base", class: "class:0", numInferenceSteps: 2)[0]
        #expect(image.width > 8)
        let lacking = await #expect(throws: DiffFitError.self) { try await seeing.sample("base", class: "class:0", numInferenceSteps: 2, decoder: .tiny) }
        #expect(lacking?.kind == .invalidRequest)
        let base = try DiffFitBase(path: golden("dit-tiny"), autoencoder: golden("vae-small"), tinyAutoencoder: golden("vae-tiny-4"))
        #expect(base.decoders == [.full, .tiny])
        let both = try DiffFitPipeline(base)
        var pictures: [SampledImage] = []
        for decoder in [nil, DecoderKind.full, .tiny] {
            pictures += try await both.sample("base", class: "class:0", numInferenceSteps: 2, decoder: decoder)
        }
        #expect(pictures[0].pixels == image.pixels)
        #expect(pictures[1].pixels == image.pixels)
        #expect(pictures[2].pixels != image.pixels)
        let other = #expect(throws: DiffFitError.self) { try DiffFitBase(path: golden("dit-pixel"), autoencoder: golden("vae-small")) }
        #expect(other?.kind == .incompatible)
    }
}
