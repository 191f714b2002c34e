import AdapterComposer
import AdapterFormat
import AdapterStore
import AdapterTraining
import ArgumentParser
import DiTPipeline
import Diffusion
import Distillation
import DiTModel
import Foundation
import SamplingEngine
import TensorMath

struct Distill: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Train vectors that make guided pictures in fewer network rows, or give a sparse base back what it lost.",
        discussion: """
            A distilled vector has no classes of its own: it is added to a domain in a recipe, as in flowers+guide. No pictures are
            needed, for it learns from what the domains in the store make when they are guided.
            """,
        subcommands: [DistillGuidance.self, DistillSteps.self, DistillRecovery.self])
}

struct DistillGuidance: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "guidance", abstract: "One row in place of a guided pair.",
        discussion: """
            Example: adapterctl distill guidance flowers birds art --guidance-interval 0.1,0.8 -o guide.safetensors --add
            Then: adapterctl sample flowers+guide -o flowers.png

            The vector's weight is a dial: at 1 it stands for the guidance scale that it learned, at 0 for none.
            """)
    @OptionGroup var distillation: DistillationOptions
    @Option(help: "Steps of the sampling that the vector is for.") var samplingSteps = UsualSampling.steps

    func validate() throws { try distillation.checkDomains() }

    func run() throws {
        guard (4...1000).contains(samplingSteps) else { throw Failure.usage("--sampling-steps is between 4 and 1000") }
        let subject = try distillation.subject()
        let guidance = subject.teacher.guidance
        guard guidance.kind != .none, guidance.scale > 1 else { throw Failure.usage("there is guidance to distil: give a --guidance-scale above 1") }
        let plan = try SamplingPlan(
            UsualSampling.sampler(subject.teacher.convention.path), steps: samplingSteps, subject.teacher.convention, clips: subject.teacher.clips)
        let source = GuidanceSource(subject.base, subject.teacher, layout: subject.layout, plan: plan, settings: subject.settings)
        try distillation.follow(source, subject, subject.record(.guidance, method: "regression")) { record, run in
            record.dial = try source.dial(run.model, run.result, pool: subject.pool)
        }
    }
}

struct DistillSteps: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "steps", abstract: "A vector for each step of a sampler of few steps, guidance included.",
        discussion: """
            Example: adapterctl distill steps flowers --steps 4 --guidance-interval 0.1,0.8 -o turbo4.safetensors --add
            Then: adapterctl sample flowers+turbo4 -o flowers.png

            The times are searched first, as adapterctl fit does; then each step learns to lead where the guided trajectory is by then.
            Step vectors that were trained so can be trained on for the look of their pictures, all but the first step:
                     adapterctl distill steps flowers --objective distribution --from turbo4 --learning-rate 1e-4 -o turbo4d.safetensors
            """)
    @OptionGroup var distillation: DistillationOptions
    @Option(name: .customLong("steps"), help: "Steps of the sampler, each with a vector of its own (default: 4).") var givenSteps: Int?
    @Option(help: "Steps of the sampling that is learned from.") var teacherSteps = UsualSampling.steps
    @Option(help: "What each step learns: trajectory, reflow, consistency, or distribution (on top of --from).") var objective =
        StepObjective.trajectory.rawValue
    @Option(help: "Of --objective consistency: share of the loss that asks for pictures which are hard to tell from the teacher's.") var adversarial: Float = 0
    @Option(help: "Step vectors to go on from, a name in the store or a file; their steps and times are kept.") var from: String?

    private static let distribution = "distribution"
    private var steps: Int { givenSteps ?? 4 }

    func validate() throws {
        try distillation.checkDomains()
        let names = StepObjective.allCases.map(\.rawValue) + [Self.distribution]
        guard names.contains(objective) else { throw ValidationError("--objective is \(names.joined(separator: ", ")), not '\(objective)'") }
        guard adversarial == 0 || objective == StepObjective.consistency.rawValue && adversarial > 0 && adversarial < 1 else {
            throw ValidationError("--adversarial is from 0 to below 1, and for --objective \(StepObjective.consistency.rawValue)")
        }
        guard from != nil || objective != Self.distribution else {
            throw ValidationError("--objective \(Self.distribution) goes on from step vectors: give --from")
        }
        guard (1...20).contains(steps) else { throw ValidationError("--steps is between 1 and 20") }
        guard (2 * steps...1000).contains(teacherSteps) else { throw ValidationError("--teacher-steps is between twice the steps and 1000") }
    }

    func run() throws {
        let earlier = try from.map(earlier)
        let subject = try distillation.subject(like: earlier?.adapter.manifest)
        let teacher = subject.teacher, profile = try earlier?.profile ?? fit(subject)
        let plan = try SamplingPlan(teacherSampler(teacher), steps: profile.teacherSteps, teacher.convention, clips: teacher.clips)
        var record = subject.record(.steps, method: adversarial > 0 ? "adversarial \(objective)" : objective)
        record.solver = profile
        let start = earlier.map { earlier in (0..<profile.steps).map { earlier.adapter.step($0, over: subject.base.layout).vector } } ?? []
        if let objective = StepObjective(rawValue: objective) {
            let source = try StepSource(
                subject.base, teacher, layout: subject.layout, teacherPlan: plan, objective, adversarial: adversarial, solver: FittedSolver(profile),
                settings: subject.settings, pool: subject.pool)
            try distillation.follow(source, subject, record, startingAt: start)
        } else {
            let source = try DistributionSource(
                subject.base, teacher, layout: subject.layout, teacherPlan: plan, solver: FittedSolver(profile), settings: subject.settings)
            try distillation.follow(source, subject, record, startingAt: start)
        }
    }

    private func teacherSampler(_ teacher: GuidedTeacher) -> Sampler { teacher.convention.path == .rectifiedFlow ? .ab2 : .dpmpp2m }

    /// Times and coefficients for steps that know nothing yet.
    private func fit(_ subject: DistillationOptions.Subject) throws -> SolverProfile {
        let teacher = subject.teacher
        var settings = SolverFit.Settings()
        settings.teacherSteps = teacherSteps
        settings.images = max(128, 16 * teacher.labelCount)
        let fit = try SolverFit(
            teacher, teacherSampler(teacher), classes: teacher.labelCount, channels: subject.base.configuration.inChannels, settings: settings,
            onProgress: { Progress.step(Int(100 * $0), of: 100) })
        Progress.begin("fitting times")
        let fitted = try fit.fit(steps: [steps])[0]
        note("times \(fitted.solver.steps.map { String(format: "%.3f", $0.time) }.joined(separator: " ")), \(String(format: "%.1f", fitted.psnr)) dB untrained")
        let solver = StepObjective(rawValue: objective)?.solver(fitted.solver, on: teacher.convention.path) ?? fitted.solver
        return SolverProfile(
            solver, guidance: teacher.guidance, family: fitted.family, teacher: fit.plan, psnr: fitted.psnr, images: fitted.images)
    }

    private struct Earlier {
        let adapter: Adapter
        let profile: SolverProfile
    }

    private func earlier(_ reference: String) throws -> Earlier {
        let store = try distillation.location.open()
        let base = try store.baseFile(store.lookup(distillation.domains[0]).baseDigest)
        let adapter = try ResolvedAdapter(reference, of: base) { store }.adapter
        guard let record = adapter.manifest.distillation, let profile = record.solver, record.role == .steps else {
            throw Failure.usage("'\(reference)' holds no vectors for the steps of a sampler: give --from those that distill steps has made")
        }
        guard givenSteps ?? profile.steps == profile.steps else {
            throw Failure.usage("'\(reference)' is for \(profile.steps, "step"): leave --steps out")
        }
        return Earlier(adapter: adapter, profile: profile)
    }
}

/// What every distillation is told.
struct DistillationOptions: ParsableArguments {
    @Argument(help: "Domains in the store; the vector learns from one after the other and is added to any.", completion: .adapterNames)
    var domains: [String] = []
    @Option(name: [.customShort("o"), .customLong("output")], help: "The file to write.") var file: String
    @Option(help: "The vector's name (default: the file's).") var name: String?
    @Flag(help: "Add the result to the store under its name.") var add = false
    @Flag(help: "With --add: let a name that stands for other content stand for the result from now on.") var replace = false
    @Flag(help: "Round the result to bfloat16: half the size.") var bf16 = false
    @OptionGroup var method: MethodOptions
    @OptionGroup var guidance: GuidanceOptions
    @Option(help: "Steps of the optimiser.") var trainSteps = 1000
    @Option(help: "Images of one batch, all of one domain.") var batch = 64
    @Option(help: "Of the random numbers: the same seed gives the same result.", transform: seedNumber) var seed: UInt64 = 1
    @Option(help: "AdamW's largest step (default: 2e-3, of LoRA 5e-4).") var learningRate: Float?
    @Option(help: "Steps between two measurements against the teacher's pictures.") var validateEvery = 250
    @Option(help: "Of the frozen matrices' products, the teacher's and the student's: f32, bf16, or auto: bf16 where this processor multiplies it.")
    var precision =
        PrecisionChoice.auto.rawValue
    @OptionGroup var runs: RunOptions
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard trainSteps > 0, trainSteps < 1 << 38, batch > 0, batch < 1 << 20, validateEvery > 0 else {
            throw ValidationError("--train-steps, --batch and --validate-every are above 0")
        }
        guard (learningRate ?? 1) > 0, (learningRate ?? 1).isFinite else { throw ValidationError("--learning-rate is a number above 0") }
    }

    /// Refuses to learn from nothing.
    func checkDomains() throws {
        if domains.isEmpty { throw ValidationError("give at least one domain") }
    }

    var usedName: String { name ?? URL(filePath: file).deletingPathExtension().lastPathComponent }

    /// A base, a teacher over it, and what is to be trained.
    struct Subject {
        let base: BaseFile
        let teacher: GuidedTeacher
        let set: TrainableSet
        let layout: TunableLayout
        let settings: TrainingSettings
        let pool: ThreadPool

        func record(_ role: DistillationRecord.Role, method: String) -> DistillationRecord {
            let guidance = teacher.guidance
            return DistillationRecord(
                role: role, method: method, domains: teacher.domains.map { .init(name: $0.name, digest: $0.digest) }, guidance: guidance.kind.rawValue,
                guidanceScale: Double(guidance.scale), guidanceInterval: [guidance.interval.lowerBound, guidance.interval.upperBound])
        }
    }

    /// A teacher over the base of the domains, which is trained on too.
    /// - Parameter manifest: of an adapter whose trainable set is to be trained on; nil takes what the options say.
    func subject(like manifest: AdapterManifest? = nil) throws -> Subject {
        let store = try openStore()
        let base = try store.baseFile(store.lookup(domains[0]).baseDigest), guidance = try guidance.imageGuidance()
        let own = try teachers(in: store, over: base, guidance)
        return try subject(base, of: base, own, guidance, like: manifest)
    }

    /// The store, after what would keep the result from being written was looked for.
    func openStore() throws -> AdapterStore {
        let name = try AdapterName(usedName).description
        try checkOutputs([.trained(file)])
        let store = try location.open()
        if add, !replace, let known = try store.list().first(where: { $0.name == name }) { throw StoreError.nameTaken(name: name, digest: known.digest) }
        return store
    }

    /// The domains that were given, of a base.
    func teachers(in store: AdapterStore, over base: BaseFile, _ guidance: ImageGuidance) throws -> [TeacherDomain] {
        let entries = try domains.map { try store.lookup($0) }, catalogue = try AdapterCatalogue(store, base: base)
        let adapters = try entries.map { try catalogue.bind($0.digest.description).adapter }
        for (entry, adapter) in zip(entries, adapters) {
            let manifest = try entry.decodedManifest(), name = entry.name ?? entry.digest.short
            guard manifest.lowRank == nil else { throw Failure.usage("'\(name)' holds low-rank pairs: distil from domains of biases and scales") }
            guard adapter.grid == nil else { throw Failure.usage("'\(name)' has a resolution of its own: distil from domains of the base's") }
            if guidance.kind == .cfg, guidance.scale != 1, !adapter.classes.hasNullRow { throw AdmissionError.noNullRow(adapter: name, isBase: false) }
        }
        if guidance.kind == .domain, guidance.scale != 1, !base.classes.hasNullRow { throw AdmissionError.noNullRow(adapter: base.card.name, isBase: true) }
        return zip(entries, adapters).map { TeacherDomain(name: $0.name ?? $0.digest.short, digest: $0.digest, vector: $1.vector, classes: $1.classes) }
    }

    /// - Parameters:
    ///   - base: what is trained on.
    ///   - teacherBase: that of the domains.
    func subject(
        _ base: BaseFile, of teacherBase: BaseFile, _ domains: [TeacherDomain], _ guidance: ImageGuidance, like manifest: AdapterManifest? = nil
    ) throws -> Subject {
        let (set, lowRank) = try manifest.map { ($0.trainableSet, $0.lowRank) } ?? method.set(base.configuration)
        guard set.method != .full else { throw Failure.usage("a distilled vector is an adapter: --method takes difffit, difffit-a, bitfit or lora") }
        var settings = TrainingSettings(steps: trainSteps, batch: batch, seed: seed, learningRate: learningRate ?? (lowRank == nil ? 2e-3 : 5e-4))
        settings.validationInterval = validateEvery
        settings.labelDropout = 0
        settings.emaDecay = 0.99
        settings.beta2 = 0.99
        settings.precision = try trainingPrecision(precision)
        let pool = ThreadPool()
        let teacher = try GuidedTeacher(teacherBase, domains, guidance: guidance, precision: settings.precision, pool: pool)
        return Subject(base: base, teacher: teacher, set: set, layout: base.layout.over(lowRank), settings: settings, pool: pool)
    }

    struct Result: Encodable {
        let name, file, digest, folder: String
        let trainedValues, steps: Int
        let loss: Float
        /// Median over held-out images against the teacher's, in dB.
        let psnr: Double?
    }

    /// Trains, writes and, where it was asked for, stores the vector.
    /// - Parameter measure: adds to the record of the finished vector.
    func follow<Source: DistillationSource & TrainingSource>(
        _ source: Source, _ subject: Subject, _ record: DistillationRecord, startingAt earlier: [TunableVector] = [],
        measure: (inout DistillationRecord, TrainingRun) throws -> Void = { _, _ in }
    ) throws {
        let folder = runs.folder(for: file, name: usedName)
        let place = try runs.place(for: file, name: usedName, nil)
        defer { withExtendedLifetime(place) {} }
        let run = try TrainingRun.distilling(subject.settings, subject.set, source, startingAt: earlier, pool: subject.pool)
        var record = record
        func write(_ values: TrainableValues, _ path: String) throws -> Adapter {
            try run.writeDistilled(record, source, named: usedName, rounded: bf16, to: path, values: values)
        }
        let what = [
            "name": usedName, "domains": domains.joined(separator: " "), "output": file, "base": subject.base.digest.description,
            "command": CommandLine.arguments.joined(separator: " "),
        ]
        try runs.follow(run, in: place, folder: folder, what: what) { values, path in _ = try write(values, path) }
        try measure(&record, run)
        var adapter = try write(run.result, file)
        if add { _ = try location.open().add(&adapter, as: usedName, over: subject.base, replace: replace) }
        let result = Result(
            name: usedName, file: file, digest: adapter.digest.description, folder: folder, trainedValues: run.trainedValues, steps: run.step,
            loss: run.history.recentLoss, psnr: adapter.manifest.distillation?.psnr)
        try output.report("distill", result, outputs: [file]) {
            "\(result.name) \(result.digest.prefix(12)) written to \(result.file), "
                + (result.psnr.map { String(format: "%.1f dB to its teacher, ", $0) } ?? "") + "its run in \(result.folder)"
        }
    }
}
