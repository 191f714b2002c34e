import AdapterComposer
import AdapterFormat
import AdapterStore
import Diffusion
import Foundation
import Synchronization

/// The adapters of one base: those of a store, and those that were put in beside it. Loaded ones stay resident, and what any process
/// changes in the store is seen at the next call, at the price of one look at the store's generation.
package final class AdapterCatalogue: Sendable {
    package struct Binding: Sendable {
        package let adapter: BoundAdapter
        /// Time to read it from the store; zero where it was resident.
        package let load: Duration
        package let wasResident: Bool
    }

    /// nil where there are only adapters that were put in.
    package let store: AdapterStore?
    package let base: BaseFile
    private let values: BaseValues
    private let composing: ComposingBase
    private let budget: Int
    private let vectorLimit: Int
    private let state = Mutex(State())

    private struct State {
        var generation: UInt64?
        /// Adapters that were put in, under every text that means them.
        var own: [String: Resident] = [:]
        /// What references stood for at that generation.
        var digests: [String: (name: String, digest: Digest)] = [:]
        var resident: [Digest: Resident] = [:]
        var bytes = 0
        var tick: UInt64 = 0
    }

    private struct Resident {
        let adapter: BoundAdapter
        /// As stored; nil for one that was composed here.
        let manifest: Data?
        var lastUse: UInt64
    }

    /// - Parameters:
    ///   - budget: bytes of vectors and class tables that stay resident; the longest unused go first.
    ///   - vectorLimit: most vectors of one recipe, so that none is composed for a request that will be refused.
    package init(_ store: AdapterStore?, base: BaseFile, budget: Int = 1 << 30, vectorLimit: Int = .max) throws {
        self.store = store
        self.base = base
        self.budget = budget
        self.vectorLimit = vectorLimit
        values = try BaseValues(digest: base.digest, layout: base.layout, vector: base.vector)
        composing = ComposingBase(base)
    }

    /// The store's generation, where all that requests need is as it was opened.
    /// - Throws: `StoreError`: the data file was cut or replaced, or a file of the base was cut, which computing would end in SIGBUS.
    package func generation() throws(StoreError) -> UInt64 {
        if let cut = base.file.cutFile {
            throw .damaged(item: "base \(base.digest.short)", reason: "its file '\(cut)' was cut while it was in use")
        }
        return try store?.generation() ?? 0
    }

    /// Puts an adapter in beside the store's; its name goes before an equal one there.
    /// - Throws: `AdapterFormatError.badName`; `SamplingEngineError.otherBase`.
    package func insert(_ adapter: Adapter, as name: String) throws {
        let name = try AdapterName(name).description, manifest = adapter.manifest, digest = adapter.digest
        guard manifest.baseDigest == base.digest else { throw refusal(of: name, manifest.baseDigest) }
        let bound = BoundAdapter(name: name, digest: digest, vector: adapter.vector, classes: adapter.classes, grid: manifest.imageGrid)
        let own = Resident(adapter: bound, manifest: Data(try sortedJSON(manifest).utf8), lastUse: 0)
        state.withLock { state in
            for text in [name, "\(digest)", "\(name)@\(digest)"] { state.own[text] = own }
        }
    }

    /// What a store says of an adapter.
    /// - Throws: `StoreError`; `notFound` for one that is not in a store.
    package func lookup(_ reference: String) throws(StoreError) -> AdapterEntry {
        guard let store else { throw unknown(reference) }
        return try store.lookup(reference)
    }

    private func refusal(of adapter: String, _ other: Digest) -> SamplingEngineError {
        base.isMade(of: other)
            ? .denseBase(adapter: adapter, base: other, sparse: base.digest) : .otherBase(adapter: adapter, base: other, wanted: base.digest)
    }

    private func unknown(_ reference: String) -> StoreError {
        let names = state.withLock { $0.own.values.map(\.adapter.name) }
        return .notFound(reference: reference, nearest: nearestNames(to: reference, among: Set(names).sorted()))
    }

    /// The adapter behind `base`, a name, a digest or its first digits, or `name@digest`, whole and immutable.
    /// - Throws: `StoreError`, `SamplingEngineError.otherBase`, and `noDomain` for a distilled vector, which is nothing without a domain.
    package func bind(_ reference: String) throws -> Binding {
        let (binding, manifest) = try held(reference)
        if let role = try manifest.flatMap({ try distilled($0, of: binding.adapter.digest) }), !role.isDomain {
            throw SamplingEngineError.noDomain(adapter: binding.adapter.name, role: role.role)
        }
        return binding
    }

    private func held(_ reference: String) throws -> (binding: Binding, manifest: Data?) {
        if reference == "base" { return (Binding(adapter: BoundAdapter(base), load: .zero, wasResident: true), nil) }
        if let own = state.withLock({ $0.own[reference] }) { return (Binding(adapter: own.adapter, load: .zero, wasResident: true), own.manifest) }
        guard let store else { throw unknown(reference) }
        let (name, digest) = try resolve(reference, in: store)
        if let found = resident(digest) { return (Binding(adapter: found.adapter.named(name), load: .zero, wasResident: true), found.manifest) }
        let start = ContinuousClock.now
        let stored = try store.load(digest, over: values)
        let manifest = try AdapterManifest(stored: stored.manifest, of: digest)
        let adapter = BoundAdapter(
            name: name, digest: digest, vector: stored.vector, classes: stored.classes, grid: manifest.imageGrid)
        keep(adapter, under: digest, manifest: stored.manifest)
        return (Binding(adapter: adapter, load: .now - start, wasResident: false), stored.manifest)
    }

    /// A recipe with its adapters read and composed; what was composed stays resident under the digest of its canonical text.
    /// - Parameters:
    ///   - strength: how far each vector goes from the base.
    ///   - labelsFrom: the adapter whose class names are taken, where there are several.
    /// - Throws: `StoreError`, `SamplingEngineError`, `ComposerError`.
    package func bind(_ recipe: Recipe, strength: Double = 1, labelsFrom: String? = nil) throws -> BoundRecipe {
        if let only = recipe.only, strength == 1, labelsFrom == nil {
            let one = try held(only)
            let manifest = try one.manifest.flatMap { try distilled($0, of: one.binding.adapter.digest) }
            // What has no classes of its own is a sum with the base.
            if manifest?.isDomain ?? true {
                return BoundRecipe(one.binding, folded: manifest?.foldedGuidance, null: composing.classes.row(composing.classes.nullClass))
            }
        }
        var load = Duration.zero
        // Each reference is looked up once: a name that moves meanwhile means one thing in one recipe.
        var known: [String: ResolvedAdapter] = [:]
        func canonical(_ recipe: Recipe) throws -> CanonicalRecipe {
            try CanonicalRecipe(recipe, over: composing) { reference in
                if let found = known[reference] { return found }
                let (binding, manifest) = try held(reference)
                load += binding.load
                let resolved = try ResolvedAdapter(binding.adapter, manifest: manifest)
                known[reference] = resolved
                return resolved
            }
        }
        // As it was asked for, which is what is said of it; and drawn towards the base, which is what is run.
        let asked = try canonical(recipe)
        let settled = strength == 1 ? asked : try canonical(recipe.scaled(by: strength))
        let run = try settled.laidOverSteps(over: composing)
        let vectors = Set(run.stages.flatMap { $0.parts.map(\.sum.digest) }).count
        guard vectors <= vectorLimit else { throw AdmissionError.tooManyAdapters(count: vectors, limit: vectorLimit) }
        var compose = Duration.zero
        let stages = try run.stages.map { stage in
            BoundRecipe.Stage(
                start: stage.start,
                parts: try stage.parts.map { part in
                    BoundRecipe.Part(weight: part.weight, adapter: try adapter(part.sum, labelsFrom: labelsFrom, time: &compose))
                })
        }
        return BoundRecipe(
            asked, run: run, stages, solver: try settled.solver(), folded: try settled.foldedGuidance(), labelsFrom: labelsFrom, load: load,
            compose: compose, null: composing.classes.row(composing.classes.nullClass))
    }

    private func adapter(_ sum: CanonicalSum, labelsFrom: String?, time: inout Duration) throws -> BoundAdapter {
        if let only = sum.only, only.adapter.manifest.isDomain, labelsFrom == nil { return try bind(only.digest.description).adapter.named(only.name) }
        if sum.parts.isEmpty, labelsFrom == nil { return BoundAdapter(base) }
        let key = Digest(of: Data("\(sum.text) \(labelsFrom ?? "")".utf8))
        if let found = resident(key) { return found.adapter }
        let start = ContinuousClock.now
        let composed = try sum.adapter(over: composing, labelsFrom: labelsFrom)
        let adapter = BoundAdapter(
            name: sum.label, digest: composed.digest, vector: composed.vector, classes: composed.classes, grid: composed.manifest.imageGrid)
        time += .now - start
        keep(adapter, under: key, manifest: nil)
        return adapter
    }

    /// The calls that run the blocks, by the profile that was calibrated for this very composition; nil for the exact level.
    /// - Throws: `SamplingEngineError.noCacheProfile` where there is none: one of another adapter is never taken.
    package func cache(_ level: CacheLevel, for recipe: BoundRecipe, sampler: Sampler, steps: Int) throws -> [Bool]? {
        if level == .exact { return nil }
        let profiles = try measured(recipe)?.cacheProfiles ?? []
        if let found = profiles.first(where: { $0.level == level.rawValue && $0.sampler == sampler.rawValue && $0.steps == steps }) { return found.runs }
        throw SamplingEngineError.noCacheProfile(
            recipe: recipe.runLabel, level: level, sampler: sampler, steps: steps, has: profiles.map { "\($0.level) for \($0.sampler) in \($0.steps)" })
    }

    /// What is recorded now of a recipe that is one stored vector; nil of any other. Its profiles may have come since it was loaded.
    private func measured(_ recipe: BoundRecipe) throws -> AdapterManifest? {
        guard let digest = recipe.adapter?.digest else { return nil }
        if let own = state.withLock({ $0.own[digest.description] })?.manifest { return try AdapterManifest(stored: own, of: digest) }
        return try (try? lookup(digest.description))?.decodedManifest()
    }

    /// A solver that was fitted to this very composition.
    /// - Parameters:
    ///   - steps: nil takes what is nearest to its teacher.
    ///   - guidance: nil takes what the solver was fitted with.
    /// - Throws: `SamplingEngineError.noSolverProfile` where there is none: one of another adapter is never taken.
    package func solver(for recipe: BoundRecipe, steps: Int?, guidance: ImageGuidance?) throws -> BoundSampling {
        let profiles = try measured(recipe)?.solverProfiles ?? []
        let fitting = profiles.filter { $0.isWhole && (steps ?? $0.steps) == $0.steps && (guidance ?? $0.imageGuidance) == $0.imageGuidance }
        if let best = fitting.max(by: { $0.psnr < $1.psnr }), let guidance = best.imageGuidance {
            return BoundSampling(sampler: .fitted, steps: best.steps, guidance: guidance, solver: FittedSolver(best))
        }
        throw SamplingEngineError.noSolverProfile(
            recipe: recipe.runLabel, steps: steps, guidance: guidance,
            has: profiles.map { "\($0.steps, "step") for guidance \($0.imageGuidance.map { "\($0)" } ?? $0.guidance)" })
    }

    /// Distilled vectors of a role: of the store's by name, and those that were put in.
    func vectors(of role: DistillationRecord.Role) throws -> [DistilledVector] {
        let own = state.withLock { state in state.own.filter { $0.key == $0.value.adapter.name }.map { ($0.key, $0.value.adapter.digest, $0.value.manifest) } }
        let stored = try list().map { ($0.name ?? $0.digest.description, $0.digest, Optional($0.manifest)) }
        return try (own + stored).compactMap { name, digest, manifest in
            guard let record = try manifest.flatMap({ try distilled($0, of: digest) })?.distillation, record.role == role else { return nil }
            return DistilledVector(name: name, digest: digest, record: record)
        }
    }

    /// One that may be added to a domain.
    struct DistilledVector {
        let name: String
        let digest: Digest
        let record: DistillationRecord
    }

    /// The manifest of a distilled vector, or of a domain with guidance in its values; nil of any other, without the reading of JSON.
    private func distilled(_ manifest: Data, of digest: Digest) throws -> AdapterManifest? {
        let keys = ["\"distillation\"", "\"folded_guidance\""]
        guard keys.contains(where: { manifest.range(of: Data($0.utf8)) != nil }) else { return nil }
        return try AdapterManifest(stored: manifest, of: digest)
    }

    /// The store's adapters of this base, by name.
    package func list() throws -> [AdapterEntry] { try store?.list().filter { $0.baseDigest == base.digest } ?? [] }

    package var residentDigests: Set<Digest> { state.withLock { Set($0.resident.filter { $0.value.manifest != nil }.keys) } }
    package var residentBytes: Int { state.withLock { $0.bytes } }

    private func resolve(_ reference: String, in store: AdapterStore) throws -> (name: String, digest: Digest) {
        let generation = try generation()
        let known = state.withLock { state in
            if state.generation != generation {
                state.digests = [:]
                state.generation = generation
            }
            return state.digests[reference]
        }
        if let known { return known }
        let entry = try store.lookup(reference)
        guard entry.baseDigest == base.digest else {
            throw refusal(of: reference, entry.baseDigest)
        }
        let found = (name: entry.name ?? entry.digest.short, digest: entry.digest)
        state.withLock { state in
            // A change since then has emptied the table: what was found may be of the past.
            if state.generation == generation { state.digests[reference] = found }
        }
        return found
    }

    private func resident(_ key: Digest) -> Resident? {
        state.withLock { state in
            state.tick += 1
            state.resident[key]?.lastUse = state.tick
            return state.resident[key]
        }
    }

    private func keep(_ adapter: BoundAdapter, under key: Digest, manifest: Data?) {
        state.withLock { state in
            guard state.resident[key] == nil else { return }
            state.tick += 1
            state.resident[key] = Resident(adapter: adapter, manifest: manifest, lastUse: state.tick)
            state.bytes += adapter.bytes
            while state.bytes > budget, let oldest = state.resident.min(by: { $0.value.lastUse < $1.value.lastUse }) {
                state.resident[oldest.key] = nil
                state.bytes -= oldest.value.adapter.bytes
            }
        }
    }
}

extension ResolvedAdapter {
    /// - Throws: `SamplingEngineError.noManifest` where the stored one can not be read.
    fileprivate init(_ adapter: BoundAdapter, manifest: Data?) throws {
        guard let manifest else { throw SamplingEngineError.noManifest(adapter: adapter.name) }
        self.init(
            name: adapter.name, digest: adapter.digest,
            adapter: Adapter(manifest: try AdapterManifest(stored: manifest, of: adapter.digest), vector: adapter.vector, classes: adapter.classes))
    }
}
