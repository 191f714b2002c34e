import AdapterFormat
import AdapterStore
import ArgumentParser
import DiTPipeline
import Diffusion
import Distillation
import Foundation
import SamplingEngine
import TensorMath

struct Fit: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Fit samplers of few steps to an adapter, for --sampler fitted.",
        discussion: """
            Example: adapterctl fit flowers --steps 4,6,8 --guidance-interval 0.1,0.8

            The times at which the network is called, and how each step uses the predictions of its own call and the one before, are
            fitted to the adapter's own guided images; nothing is trained. A fitted solver belongs to one adapter, guidance and number
            of steps, lies in the adapter's manifest, and is refused for anything else. A recipe is fitted after compose has stored it.
            """)
    @Argument(help: "A name, a digest or its first digits, or name@digest.") var reference: String
    @Option(help: "Numbers of steps, one solver for each, as in 4,6,8.") var steps = "4,6,8"
    @Option(help: "Images that are fitted to.") var images = 512
    @Option(help: "Steps of the sampling that is fitted to; the more, the more times there are to choose from.") var teacherSteps = 80
    @OptionGroup var guidance: GuidanceOptions
    @OptionGroup var precision: PrecisionOption
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let name, digest: String
        let solvers: [Solver]
    }

    struct Solver: Encodable {
        let profile: SolverProfile
        let rows: Int
        /// Of the usual sampler in as many steps, on the same images.
        let usualPSNR: Double
    }

    func run() throws {
        let wanted = steps.split(separator: ",", omittingEmptySubsequences: false).map { Int($0.trimmingCharacters(in: .whitespaces)) ?? 0 }
        guard wanted.allSatisfy((1...20).contains), Set(wanted).count == wanted.count else {
            throw Failure.usage("--steps takes different numbers from 1 to 20 with commas between, as in 4,6,8; not '\(steps)'")
        }
        guard (64...4096).contains(images) else { throw Failure.usage("--images is between 64 and 4096") }
        guard (2 * (wanted.max() ?? 1)...1000).contains(teacherSteps) else {
            throw Failure.usage("--teacher-steps is between twice the steps that are fitted and 1000")
        }
        let imageGuidance = try guidance.imageGuidance()
        let store = try location.open()
        let entry = try store.lookup(reference)
        let base = try store.baseFile(entry.baseDigest)
        let adapter = try AdapterCatalogue(store, base: base).bind(entry.digest.description).adapter
        if imageGuidance.kind == .cfg, imageGuidance.scale != 1, !adapter.classes.hasNullRow {
            throw AdmissionError.noNullRow(adapter: adapter.name, isBase: false)
        }
        if imageGuidance.kind == .domain, imageGuidance.scale != 1, !base.classes.hasNullRow {
            throw AdmissionError.noNullRow(adapter: base.card.name, isBase: true)
        }
        let teacher = try GuidedTeacher(
            base, [TeacherDomain(name: adapter.name, digest: adapter.digest, vector: adapter.vector, classes: adapter.classes)], grid: adapter.grid,
            guidance: imageGuidance, precision: precision.chosen(), pool: ThreadPool())
        var settings = SolverFit.Settings()
        settings.images = images
        settings.teacherSteps = teacherSteps
        let sampler: Sampler = teacher.convention.path == .rectifiedFlow ? .ab2 : .dpmpp2m
        let fit = try SolverFit(
            teacher, sampler, classes: adapter.classes.names.count, channels: base.configuration.inChannels, settings: settings,
            onProgress: { Progress.step(Int(100 * $0), of: 100) })
        Progress.begin("fitting")
        let fitted = try fit.fit(steps: wanted)
        let solvers = fitted.map {
            Solver(
                profile: SolverProfile(
                    $0.solver, guidance: imageGuidance, family: $0.family, teacher: fit.plan, psnr: $0.psnr, images: $0.images), rows: $0.rows,
                usualPSNR: $0.plainPSNR)
        }
        try record(solvers.map(\.profile), in: store, entry)
        let behind = solvers.filter { $0.profile.psnr < $0.usualPSNR }.map {
            "with \($0.profile.steps, "step") the usual sampler comes nearer to \(teacherSteps): \($0.usualPSNR.formatted(.number.precision(.fractionLength(1)))) dB"
        }
        try output.report(
            "fit", Result(name: entry.name ?? entry.digest.short, digest: entry.digest.description, solvers: solvers), warnings: behind
        ) {
            table(
                [["STEPS", "ROWS", "PSNR", "USUAL SAMPLER", "TIMES"]]
                    + solvers.map {
                        [
                            "\($0.profile.steps)", "\($0.rows)", String(format: "%.1f dB", $0.profile.psnr), String(format: "%.1f dB", $0.usualPSNR),
                            $0.profile.times.map { $0.formatted(.number.precision(.significantDigits(1...3))) }.joined(separator: " "),
                        ]
                    })
        }
    }

    /// Takes the place of earlier solvers of the same steps and guidance.
    private func record(_ profiles: [SolverProfile], in store: AdapterStore, _ entry: AdapterEntry) throws {
        var manifest = try entry.decodedManifest()
        let others = (manifest.solverProfiles ?? []).filter { old in !profiles.contains { $0.steps == old.steps && $0.imageGuidance == old.imageGuidance } }
        manifest.solverProfiles = (others + profiles).sorted { $0.steps < $1.steps }
        try store.setManifest(Data(sortedJSON(manifest).utf8), of: entry.digest)
    }
}
