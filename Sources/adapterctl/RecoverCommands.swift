import AdapterComposer
import AdapterFormat
import AdapterStore
import ArgumentParser
import Diffusion
import Distillation
import Foundation
import SamplingEngine

struct DistillRecovery: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recovery", abstract: "A vector that gives a sparse base back what it lost.",
        discussion: """
            Example: adapterctl distill recovery flowers birds art --base imagenet-24 -o recovery.safetensors --add
            Then: adapterctl recover flowers --through recovery --name flowers-24

            The teacher is the dense base that the sparse one was made of, and it stays in the store until then; domains are its own. The dense
            base itself is learned from in any case. --guidance-scale and --guidance-interval say what trajectories are learned along.
            """)
    @OptionGroup var distillation: DistillationOptions
    @Option(help: "The sparse base in the store.") var base: String
    @Option(help: "Steps of the sampling whose states are learned at.") var samplingSteps = UsualSampling.steps

    func run() throws {
        guard (4...1000).contains(samplingSteps) else { throw Failure.usage("--sampling-steps is between 4 and 1000") }
        let store = try distillation.openStore(), sparse = try store.baseFile(base)
        guard sparse.isSparse else { throw Failure.usage("the base '\(sparse.card.name)' is not sparse: there is nothing to recover") }
        guard let digest = sparse.card.sparsity?.dense else {
            throw Failure.usage("the sparse base '\(sparse.card.name)' does not say which dense base it was made of, so there is nothing to learn from")
        }
        let dense = try store.baseFile(digest)
        var guidance = try distillation.guidance.imageGuidance()
        if guidance.isPaired, !dense.classes.hasNullRow, distillation.guidance.givenKind == nil { guidance = ImageGuidance(.none, scale: 1) }
        let own = TeacherDomain(name: "base", digest: dense.digest, vector: dense.vector, classes: dense.classes)
        let subject = try distillation.subject(sparse, of: dense, [own] + distillation.teachers(in: store, over: dense, guidance), guidance)
        let teacher = subject.teacher
        let plan = try SamplingPlan(UsualSampling.sampler(teacher.convention.path), steps: samplingSteps, teacher.convention, clips: teacher.clips)
        let source = RecoverySource(sparse, teacher, layout: subject.layout, plan: plan, settings: subject.settings)
        var record = DistillationRecord(
            role: .recovery, method: "regression", domains: teacher.domains.map { .init(name: $0.name, digest: $0.digest) },
            guidance: GuidanceKind.none.rawValue, guidanceScale: 1, guidanceInterval: [0, 1])
        record.recovers = dense.digest
        try distillation.follow(source, subject, record)
    }
}

struct Recover: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Take an adapter of a dense base over to a sparse one that was made of it.",
        discussion: """
            Example: adapterctl recover flowers --through recovery --name flowers-24

            What the adapter changes of the dense base is added to what the recovery changes of the sparse one. The result names both as its
            parents. In a recipe the recovery is to be there once: 0.5*flowers-24+0.5*birds-24, or 0.7*flowers-24+0.3*recovery.
            """)
    @Argument(help: "An adapter of the dense base: a name in the store, or a file.", completion: .adapterNames) var adapter: String
    @Option(help: "The recovery of the sparse base, a name in the store.", completion: .adapterNames) var through: String
    @Option(help: "The name of the result in the store.") var name: String
    @Flag(help: "Let a name that stands for other content stand for the result from now on.") var replace = false
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let summary: AdapterSummary
        let recipe: String
        let parents: [String]
    }

    func run() throws {
        let name = try AdapterName(name).description
        let store = try location.open(), entry = try store.lookup(through), sparse = try store.baseFile(entry.baseDigest)
        let recovery = try store.adapter(through, of: sparse)
        guard let record = recovery.adapter.manifest.distillation, let digest = record.recovers else {
            throw Failure.usage("'\(through)' is no recovery of a sparse base; 'adapterctl distill recovery' makes one")
        }
        let dense = try store.baseFile(digest)
        let own = try ResolvedAdapter(adapter, of: dense, as: .noting) { store }
        var recovered = try own.recovered(from: ComposingBase(dense), through: recovery, over: ComposingBase(sparse))
        recovered.manifest.created = Date.now.formatted(.iso8601)
        let outcome = try store.add(&recovered, as: name, over: sparse, replace: replace)
        let added = try store.lookup(name)
        let result = Result(
            summary: AdapterSummary(added), recipe: recovered.manifest.recipe ?? "", parents: (recovered.manifest.parents ?? []).map(\.description))
        try output.report("recover", result, warnings: store.twins(ofAdapter: name)) {
            outcome == .unchanged
                ? "\(name) is already \(added.digest.short): nothing to do"
                : "\(name) is \(added.digest.short), \(readable(bytes: added.storedBytes)), '\(own.name)' on the sparse base \(sparse.card.name)"
        }
    }
}
