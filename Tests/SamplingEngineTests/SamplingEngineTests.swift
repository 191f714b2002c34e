import AdapterFormat
import DiTModel
import Diffusion
import Foundation
import SamplingEngine
import TensorMath
import Testing

private func golden(_ name: String) -> String {
    URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Goldens/\(name).safetensors").path
}

@Suite struct SamplingEngineTests {
    private let base: BaseFile
    /// The base's own values, and others over the same layout.
    private let adapters: [BoundAdapter]

    init() throws {
        let base = try BaseFile(path: golden("dit-pixel"))
        self.base = base
        adapters = (0..<4).map { domain in
            BoundAdapter(
                name: "domain-\(domain)", digest: Digest(of: Data("domain \(domain)".utf8)),
                vector: TunableVector(base.vector.values.map { $0 * (1 + 0.25 * Float(domain)) }, layout: base.layout), classes: base.classes, grid: nil)
        }
    }

    private func engine(rows: Int = 8, domains: Int = 2, threads: Int = 2, queue: Int = 1000) throws -> SamplingEngine {
        var options = EngineOptions.unbounded
        (options.rows, options.domains, options.queueImages) = (rows, domains, queue)
        return try SamplingEngine(base, options: options, pool: ThreadPool(threads: threads))
    }

    private func order(_ k: Int) -> ImageOrder {
        ImageOrder(
            adapter: adapters[k % 3], classIndex: k % 5, seed: UInt64(k / 3), index: UInt64(k), guidanceScale: k % 4 == 3 ? 1 : 2.5)
    }

    private func request(_ images: [ImageOrder], steps: Int = 5, sampler: Sampler = .ddpm, client: String = "test") -> SamplingRequest {
        SamplingRequest(client: client, images: images, sampler: sampler, steps: steps)
    }

    private func bits(_ images: [FinishedImage]) -> [[UInt32]] { images.map { $0.latent.map(\.bitPattern) } }

    /// Laws 5 and 6: an image is what its domain, class, seed and index make it, in any company and order.
    @Test(arguments: [(2, 1, 1), (8, 2, 2), (32, 3, 2)])
    func anImageIsTheSameInAnyBatch(rows: Int, domains: Int, threads: Int) async throws {
        let orders = (0..<7).map(order)
        var alone: [[UInt32]] = []
        for order in orders { alone += bits(try await engine(rows: 2, threads: 1).sample(request([order])).images) }
        let together = try await engine(rows: rows, domains: domains, threads: threads).sample(request(orders.reversed()))
        #expect(bits(together.images.reversed()) == alone)
        #expect(Set(alone).count == 7)
        #expect(together.times.batchRows <= rows)
    }

    /// Images of other samplers and step counts join and leave a running batch, and there are fewer slots than there are domains.
    @Test func joiningMidwayChangesNobodysBytes() async throws {
        let kinds: [(Sampler, Int)] = [(.ddpm, 12), (.ddim, 7), (.dpmpp2m, 5), (.unipc, 9)]
        var alone: [[[UInt32]]] = []
        for (index, kind) in kinds.enumerated() {
            let request = request([order(index), order(index + 4)], steps: kind.1, sampler: kind.0)
            alone.append(bits(try await engine(rows: 2, threads: 1).sample(request).images))
        }
        let engine = try engine(rows: 6, domains: 2)
        let first = try await engine.submit(request([order(0), order(4)], steps: 12))
        var others: [Task<[FinishedImage], any Error>] = []
        var together: [FinishedImage] = []
        for await event in first.events {
            if case .progress(let step, _) = event, step % 4 == 1, others.count < 3 {
                let index = others.count + 1
                let request = request([order(index), order(index + 4)], steps: kinds[index].1, sampler: kinds[index].0, client: "\(index)")
                others.append(Task { try await engine.sample(request).images })
            }
            if case .image(_, let image) = event { together.append(image) }
        }
        #expect(others.count == 3)
        #expect(bits(together) == alone[0])
        for (index, other) in others.enumerated() { #expect(bits(try await other.value) == alone[index + 1]) }
    }

    @Test func seedAndIndexEachChangeTheImage() async throws {
        let orders = (0..<6).map {
            ImageOrder(adapter: adapters[0], classIndex: 1, seed: UInt64($0 % 2), index: UInt64($0 / 2), guidanceScale: 2)
        }
        let images = bits(try await engine().sample(request(orders)).images)
        #expect(Set(images).count == 6)
    }

    @Test func theDomainAndItsDigestAreThoseAskedFor() async throws {
        let engine = try engine(domains: 1)
        let orders = adapters.map { ImageOrder(adapter: $0, classIndex: 1, seed: 3, index: 0, guidanceScale: 2) }
        let images = try await engine.sample(request(orders)).images
        #expect(images.map(\.digest) == adapters.map(\.digest))
        #expect(Set(bits(images)).count == adapters.count)
        let again = try await engine.sample(request([orders[0]])).images
        #expect(bits(again)[0] == bits(images)[0])
    }

    @Test func aLargerClassTableMakesRoomForItself() async throws {
        let width = base.classes.width
        let many = ClassTable(names: (0..<40).map { "class-\($0)" }, values: (0..<(41 * width)).map { base.classes.values[$0 % base.classes.values.count] })
        let wide = BoundAdapter(name: "wide", digest: Digest(of: Data("wide".utf8)), vector: adapters[1].vector, classes: many, grid: nil)
        let engine = try engine(domains: 2)
        let small = order(0), large = ImageOrder(adapter: wide, classIndex: 39, seed: 1, index: 1, guidanceScale: 2)
        let alone = bits(try await engine.sample(request([small])).images)
        let both = bits(try await engine.sample(request([small, large])).images)
        #expect(both[0] == alone[0])
        #expect(both[1] != both[0])
    }

    @Test func eventsTellTheWholeStory() async throws {
        var request = request([order(0), order(1)], steps: 8)
        request.partialImages = 3
        request.traces = true
        var progress: [Int] = [], partials: [Int: [Int]] = [:], starts = 0
        let result = try await engine().sample(request) { event in
            switch event {
            case .started: starts += 1
            case .progress(let step, let of):
                #expect(of == 16)
                progress.append(step)
            case .partial(let image, let number, let picture):
                #expect(picture.width == 16)
                partials[image, default: []].append(number)
            default: break
            }
        }
        #expect(starts == 1)
        #expect(progress == Array(1...16))
        #expect(partials == [0: [0, 1, 2], 1: [0, 1, 2]])
        try #require(result.latents.map(\.count) == [8, 8])
        #expect(result.latents[1].last == result.images[1].latent)
    }

    @Test func givenNoiseTakesThePlaceOfTheImagesOwn() async throws {
        let count = 3 * 16 * 16
        let start = (0..<count).map { Float($0 % 7) / 3 - 1 }, step = (0..<count).map { Float($0 % 5) / 2 - 1 }
        func sample(seed: UInt64, _ given: GivenNoise) async throws -> [[UInt32]] {
            let order = ImageOrder(adapter: adapters[0], classIndex: 0, seed: seed, index: 0, guidanceScale: 1, given: given)
            return bits(try await engine().sample(request([order], steps: 3)).images)
        }
        let whole = GivenNoise(start: start, steps: [step, step, step])
        #expect(try await sample(seed: 1, whole) == sample(seed: 2, whole))
        #expect(try await sample(seed: 1, GivenNoise(start: start)) != sample(seed: 2, GivenNoise(start: start)))
        await #expect(throws: AdmissionError.wrongNoise(values: 2, wanted: count)) { try await sample(seed: 1, GivenNoise(start: [0, 0])) }
    }

    @Test func cancellingEndsARequestAndNoOther() async throws {
        let engine = try engine(rows: 4)
        // All of it on a thread of its own: other tests may hold the cooperative pool for longer than the engine takes.
        let last = try await WorkExecutor("watcher", width: 1).run {
            let long = try await engine.submit(request((0..<200).map(order), steps: 1000))
            var last: SamplingEvent?
            for await event in long.events {
                if case .progress(let step, _) = event, step == 2 { await engine.cancel(long.id) }
                last = event
            }
            return last
        }
        guard case .failed(.cancelled) = last else { Issue.record("ended with \(String(describing: last))"); return }
        #expect(try await engine.sample(request([order(1)])).images.count == 1)
        #expect(await engine.status().activeImages == 0)
    }

    /// A client that has gone takes its work with it at the next step boundary.
    @Test func droppingTheEventsCancels() async throws {
        let engine = try engine(rows: 2, queue: 4000)
        let isFree = try await WorkExecutor("watcher", width: 1).run {
            do { _ = try await engine.submit(request((0..<4000).map(order), steps: 1000)) }
            var isFree = false
            for _ in 0..<50_000 where !isFree {
                let status = await engine.status()
                isFree = status.activeImages == 0 && status.queuedImages == 0
            }
            return isFree
        }
        #expect(isFree)
        #expect(await engine.status().stepsDone < 2_000_000)
    }

    @Test func aPassedDeadlineIsSaid() async throws {
        var request = request([order(0)])
        request.deadline = .now
        await #expect(throws: SamplingFailure.deadlinePassed) { try await engine().sample(request) }
    }

    @Test func whatCannotBeDoneIsRefused() async throws {
        let engine = try engine(queue: 2)
        await #expect(throws: AdmissionError.noImages) { try await engine.submit(request([])) }
        await #expect(throws: AdmissionError.tooManyImages(count: 3, limit: 2)) { try await engine.submit(request((0..<3).map(order))) }
        var wrong = order(0)
        wrong.stages[0].parts[0].classIndex = 6
        await #expect(throws: AdmissionError.noSuchClass(index: 6, adapter: "domain-0", classes: 5)) { try await engine.submit(request([wrong])) }
        await #expect(throws: DiffusionError.self) { try await engine.submit(request([order(0)], sampler: .euler)) }
    }

    @Test func drainingFinishesWhatWasAdmittedAndTakesNoMore() async throws {
        let engine = try engine(rows: 2)
        let tickets = [try await engine.submit(request([order(0)], steps: 20)), try await engine.submit(request([order(1)], steps: 20))]
        await engine.drain()
        await #expect(throws: AdmissionError.draining) { try await engine.submit(request([order(2)])) }
        for ticket in tickets {
            var last: SamplingEvent?
            for await event in ticket.events { last = event }
            guard case .finished = last else { Issue.record("ended with \(String(describing: last))"); continue }
        }
    }

    /// After it no step is taken any more, so the process may end.
    @Test func stoppingCancelsWhatRunsAndWhatWaits() async throws {
        let engine = try engine(rows: 2)
        let tickets = [try await engine.submit(request([order(0)], steps: 1000)), try await engine.submit(request([order(1)], steps: 1000))]
        for await event in tickets[0].events { if case .progress = event { break } }
        await engine.stop()
        let steps = await engine.status().stepsDone
        for await event in tickets[1].events {
            guard case .failed(.cancelled) = event else { continue }
            break
        }
        await engine.drain()
        let status = await engine.status()
        #expect(status.stepsDone == steps)
        #expect(status.activeImages == 0)
        #expect(status.queuedImages == 0)
        await #expect(throws: AdmissionError.draining) { try await engine.submit(request([order(2)])) }
    }

    /// Law 7: the matrices lie on pages that cannot be written.
    @Test func writingAFrozenMatrixEndsTheProgram() async {
        await #expect(processExitsWith: .signal(SIGSEGV)) {
            let base = try BaseFile(path: golden("dit-pixel"))
            try DiT(base).weights.layers?[0].qkv.fill(0)
        }
    }
}
