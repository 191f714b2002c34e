import AdapterStore
import ArgumentParser
import Diffusion
import Foundation
import SamplingEngine
import TensorMath

struct BenchSample: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sample", abstract: "Seconds per image of one domain, and of all domains mixed in the same batches.",
        discussion: "Example: adapterctl bench sample --n 32")
    @Option(help: "Images of one run.") var n = 32
    @Option var runs = 3
    @Option(help: "The base, where the store has several.") var base: String?
    @OptionGroup var sampling: SamplingOptions
    @OptionGroup var precision: PrecisionOption
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let domains, images: Int
        let single, mixed: Timing
        let singleSecondsPerImage, mixedSecondsPerImage: Double
        /// Images a second of the mixed run over those of the single domain.
        let throughputRatio: Double
    }

    func run() async throws {
        guard (1...100_000).contains(n), (1...10_000).contains(runs) else { throw Failure.usage("--n and --runs are at least 1") }
        let store = try location.open()
        let baseFile = try store.baseFile(base)
        let catalogue = try AdapterCatalogue(store, base: baseFile)
        let adapters = try catalogue.list().filter { try $0.decodedManifest().isDomain }.map { try catalogue.bind($0.digest.description).adapter }
        guard let first = adapters.first else { throw Failure.notFound("the store has no adapters of this base: adapterctl add NAME FILE") }
        let engine = try SamplingEngine(baseFile, options: .unbounded(at: precision.chosen()), pool: ThreadPool())
        let sampler = try sampling.chosen(engine.convention)
        let guidance = try sampling.imageGuidance()
        func sample(_ adapters: [BoundAdapter]) async throws {
            let images = (0..<n).map {
                ImageOrder(
                    stages: [.init(parts: [.init(adapter: adapters[$0 % adapters.count], classIndex: 0)])], seed: sampling.seed, index: UInt64($0),
                    guidance: guidance)
            }
            _ = try await engine.sample(SamplingRequest(client: "bench", images: images, sampler: sampler, steps: sampling.stepCount))
        }
        // In turns, so that what else the machine does falls on both alike.
        var seconds: [[Double]] = [[], []]
        for run in 0...runs {
            for (kind, chosen) in [[first], adapters].enumerated() {
                let start = ContinuousClock.now
                try await sample(chosen)
                if run > 0 { seconds[kind].append((ContinuousClock.now - start) / .seconds(1)) }
            }
        }
        let single = Timing("\(n, "image") of one domain, \(sampling.stepCount, "step")", seconds: seconds[0])
        let mixed = Timing("\(n, "image") of \(adapters.count, "domain"), mixed", seconds: seconds[1])
        let result = Result(
            domains: adapters.count, images: n, single: single, mixed: mixed, singleSecondsPerImage: single.medianSeconds / Double(n),
            mixedSecondsPerImage: mixed.medianSeconds / Double(n), throughputRatio: single.medianSeconds / mixed.medianSeconds)
        try output.report("bench sample", result) {
            """
            \(single.line)
            \(mixed.line)
            \(String(format: "%.4f and %.4f", result.singleSecondsPerImage, result.mixedSecondsPerImage)) s an image; mixed reaches \(String(format: "%.3f", result.throughputRatio)) of one domain's throughput
            \(single.machine)
            """
        }
    }
}
