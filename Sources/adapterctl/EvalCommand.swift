import AdapterFormat
import AdapterTraining
import ArgumentParser
import DomainEvaluation
import Evaluation
import Foundation
import Programs
import SyntheticDomains
import TensorMath

/// How much of each kind an evaluation measures.
struct EvaluationOptions: ParsableArguments {
    @Option(help: "Images sampled per domain and setting; 0 samples none.") var n = 512
    @Option(help: "Held-out images of the denoising error; 0 leaves it out.") var heldOut = 512
    @Option(help: "Real images that the Fréchet figure compares with.") var reference = 2048
    @Option(help: "Real images per class that the domain classifier is taught with; 0 leaves it out.") var lessons = 60
    @Option(help: "Bootstrap resamples behind each standard error.") var resamples = 100

    /// The counts, where each is one that can be measured.
    func checked() throws -> EvaluationCounts {
        guard n == 0 || (2...50_000).contains(n), (0...50_000).contains(heldOut), n + heldOut > 0 else {
            throw Failure.usage("--n is 0 or between 2 and 50000, --held-out between 0 and 50000, and one of them above 0")
        }
        guard (2...100_000).contains(reference), (2...10_000).contains(resamples), (0...10_000).contains(lessons) else {
            throw Failure.usage("--reference is between 2 and 100000, --resamples between 2 and 10000, --lessons between 0 and 10000")
        }
        return EvaluationCounts(images: n, heldOut: heldOut, reference: reference, lessons: lessons, resamples: resamples)
    }
}

struct Eval: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure how well adapters draw their domain: held-out error, Fréchet figure, classifier, each with its error.",
        discussion: """
            Example: adapterctl eval flowers cars --report eval.html
            Example: adapterctl eval flowers --compare guidance=none --compare guidance=cfg,scale=1.5 --compare guidance=cfg,scale=3
            Example: adapterctl eval flowers base '0.5*flowers+0.5*cars' --data synthetic:flowers --n 1024

            The Fréchet figure is taken on features of the frozen base's middle block. It compares samples over one base only
            and is not the FID; for that, give --npz FILE to a standard tool.
            The held-out error is of new pictures of a drawn domain, and of those pictures of a folder that it was not trained on: what train
            --validation held out, or another --split.
            """)
    @Argument(help: "Domains in the store, recipes of them, or base.") var references: [String] = []
    @Option(help: "An adapter file beside them; repeat for several.") var adapterFile: [String] = []
    @Option(help: "A whole base of the same shape, as full fine-tuning makes one, beside them; repeat for several.") var tuned: [String] = []
    @Option(help: "Real images: synthetic:DOMAIN, or a folder with one sub-folder per class (default: what the adapter was trained on).")
    var data: String?
    @OptionGroup var selection: DataOptions
    @Option(
        help:
            "A setting to sample with, of guidance, scale, interval, steps, sampler, cache, precision, such as guidance=domain,interval=0.1..0.8; repeat to compare with the first."
    )
    var compare: [String] = []
    @Option(help: "The base, where the store has several.") var base: String?
    @Option(help: "A base file in place of the store's.") var baseFile: String?
    @Option(
        help: """
            A classifier of pictures (base train --prediction classes) whose features judge beside the frozen base's, which flatter what that base \
            knows.
            """) var judge: String?
    @Option(help: "Write the sampled images: arr_0, uint8, (n, height, width, 3).") var npz: String?
    @Option(help: "Write the real images that the Fréchet figure compares with, in the same form.") var npzReference: String?
    @Option(help: "A page to write, .html or .png; repeat for both.") var report: [String] = []
    @Flag(help: "Draw and measure the real images anew instead of taking their features from the cache.") var noCache = false
    @OptionGroup var counts: EvaluationOptions
    @OptionGroup var sampling: SamplingOptions
    @OptionGroup var precision: PrecisionOption
    @OptionGroup var latents: LatentOptions
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let checked = try counts.checked()
        for path in report { _ = try ReportPage.Form(ofFile: path) }
        try checkOutputs(
            report.map { PlannedOutput($0, .report) } + [npz, npzReference].map { PlannedOutput($0, .npz) }, json: output.json)
        let (frozen, subjects) = try subjects()
        guard !subjects.isEmpty else { throw Failure.usage("name base beside --base-file, or give --adapter-file or --tuned") }
        try checkLatents(of: frozen, subjects)
        let bench = try EvaluationBench(
            frozen: frozen, judge: judge.map { try adapterctl.baseFile(at: $0) }, counts: checked, seed: sampling.seed,
            featureFolder: noCache ? nil : UserFolders.cache() + "/features"
        ) { event in
            switch event {
            case .phase(let what): Progress.begin(what)
            case .note(let line): note(line)
            case .sampling(let event): Progress.follow(event)
            }
        }
        let usual = try precision.chosen()
        let settings = try (compare.isEmpty ? [""] : compare).map { try SamplingSetting($0, usual: sampling, usual, bench.convention) }
        guard npz == nil || counts.n > 0 && subjects.count * settings.count == 1 else {
            throw Failure.usage(
                "--npz takes the images of one domain and one setting; here are \(subjects.count) and \(settings.count), of \(counts.n, "image")")
        }
        var groups: [EvaluatedGroup] = []
        for source in subjects.map(\.data) where !groups.contains(where: { $0.real.source == source }) {
            let measured = subjects.filter { $0.data == source }
            let trained = measured.compactMap(\.training)
            let real = try realImages(source, frozen, trained.first)
            if trained.contains(where: {
                ($0.facts.seed, $0.facts.validationShare) != (trained[0].facts.seed, trained[0].facts.validationShare)
                    || $0.facts.taken != trained[0].facts.taken
            }) {
                note("these were trained on different parts of '\(source)': what the first of them held out, others saw")
            }
            groups.append(try await bench.evaluate(measured, real, settings))
        }
        let result = bench.result(groups)
        if let npz { try SampleArchive.write(groups[0].subjects[0].samples[0].pictures, to: npz) }
        if let npzReference { try SampleArchive.write(groups[0].real.examples(counts.reference), to: npzReference) }
        for path in report { try result.page.write(to: path) }
        let written = (report + [npz, npzReference].compactMap { $0 }).map { "written to \($0)" }
        try output.report("eval", result, outputs: [npz, npzReference].compactMap { $0 }) {
            (result.verdict + [table(result.table)] + result.notes + written).joined(separator: "\n")
        }
    }

    private func realImages(_ source: String, _ frozen: BaseFile, _ trained: RealImages.Training?) throws -> RealImages {
        let size = frozen.configuration.inputSize
        if source.hasPrefix("synthetic:") { return try RealImages(.known(String(source.dropFirst("synthetic:".count))), size: size) }
        let taken = selection.selection(seed: trained?.facts.seed ?? 0).taken
        return try RealImages(folder: source, taken: taken, size: size, trained: trained) { folder, size, taken in
            try latents.loadData(
                folder, DataSelection(taken), for: frozen, size: size, in: baseFile == nil ? location.open() : nil, mirrored: false,
                pool: ThreadPool())
        }
    }

    /// Of a base that makes latents the held-out error alone is measured, on pictures that its autoencoder has encoded.
    private func checkLatents(of frozen: BaseFile, _ subjects: [EvaluationSubject]) throws {
        let channels = frozen.configuration.inChannels
        guard channels != 3 else { return }
        guard counts.n == 0, npzReference == nil else {
            throw Failure.usage("this base makes latents of \(channels, "channel"), of which eval measures the held-out error alone: give --n 0")
        }
        if let drawn = subjects.first(where: { $0.data.hasPrefix("synthetic:") }) {
            throw Failure.usage(
                "'\(drawn.data)' draws pictures of pixels, and this base makes latents of \(channels, "channel"): give --data a folder of pictures")
        }
    }
}
