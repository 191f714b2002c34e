import AdapterFormat
import AdapterStore
import ArgumentParser
import Diffusion
import Foundation
import SamplingEngine
import TensorMath

struct Calibrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure an adapter's sampling cache, so that sampling may ask for --cache balanced or fast.",
        discussion: """
            Example: adapterctl calibrate flowers --steps 50

            What the blocks add to the tokens changes smoothly from step to step. A profile says at which network calls they run and at
            which they are extrapolated; it belongs to one adapter, sampler and number of steps, lies in the adapter's manifest, and is
            refused for anything else. A recipe is calibrated after compose has stored it.
            """)
    @Argument(help: "A name, a digest or its first digits, or name@digest.") var reference: String
    @Option(help: "Images sampled with each schedule.") var n = 8
    @Option(help: "Paired PSNR, in dB, that balanced keeps to.") var balanced = 34.0
    @Option(help: "Paired PSNR, in dB, that fast keeps to.") var fast = 27.0
    @Option(help: "The sampler (default: the base's usual one).") var sampler: String?
    @Option var steps = UsualSampling.steps
    @Option(help: "Of the images that are measured.") var guidanceScale = UsualSampling.guidanceScale
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Schedule: Encodable {
        let tolerance: Double
        let calls: String
        let full: Int
        let psnr: Double
    }

    struct Result: Encodable {
        let name: String
        let digest: String
        let profiles: [CacheProfile]
        let schedules: [Schedule]
    }

    func run() async throws {
        guard (1...64).contains(n), (10...1000).contains(steps) else {
            throw Failure.usage("--n is between 1 and 64; --steps between 10 and 1000, since fewer leave nothing to reuse")
        }
        let store = try location.open()
        let entry = try store.lookup(reference)
        let base = try store.baseFile(entry.baseDigest)
        let adapter = try AdapterCatalogue(store, base: base).bind(entry.digest.description).adapter
        let pool = ThreadPool()
        let engine = try SamplingEngine(base, options: .unbounded, pool: pool)
        guard let kind = sampler.map(Sampler.init(rawValue:)) ?? UsualSampling.sampler(engine.convention.path) else {
            throw noSampler(sampler ?? "", engine.convention)
        }
        let plan = try SamplingPlan(kind, steps: steps, engine.convention, clips: engine.isPixelSpace)
        let calibration = CacheCalibration(base, adapter, plan, images: n, guidanceScale: guidanceScale, pool: pool)
        Progress.begin("calibrating")
        let measured = try await calibration.measure(with: engine)
        let profiles = [(CacheLevel.balanced, balanced), (.fast, fast)].compactMap { calibration.profile($0, measured, atLeast: $1) }
        try record(profiles, of: kind, in: store, entry)
        let name = entry.name ?? entry.digest.short
        let result = Result(
            name: name, digest: entry.digest.description, profiles: profiles,
            schedules: measured.map {
                Schedule(tolerance: $0.tolerance, calls: String($0.runs.map { $0 ? "1" : "0" }), full: $0.runs.count { $0 }, psnr: $0.psnr)
            })
        let missing = [CacheLevel.balanced, .fast].filter { level in !profiles.contains { $0.level == level.rawValue } }
        try output.report("calibrate", result, warnings: missing.map { "no schedule keeps to the PSNR of '\($0.rawValue)': it stays refused" }) {
            table(
                [["LEVEL", "FULL CALLS", "PSNR", "SCHEDULE"]]
                    + profiles.map { [$0.level, "\($0.runCount) of \(plan.evaluations)", String(format: "%.1f dB", $0.psnr), $0.calls] })
        }
    }

    /// Takes the place of earlier profiles of the same sampler and steps.
    private func record(_ profiles: [CacheProfile], of sampler: Sampler, in store: AdapterStore, _ entry: AdapterEntry) throws {
        var manifest = try entry.decodedManifest()
        let others = (manifest.cacheProfiles ?? []).filter { $0.sampler != sampler.rawValue || $0.steps != steps }
        manifest.cacheProfiles = others + profiles
        try store.setManifest(Data(sortedJSON(manifest).utf8), of: entry.digest)
    }
}
