import AdapterComposer
import AdapterFormat
import AdapterStore
import ArgumentParser
import Foundation

struct Merge: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Average adapters of one domain that were trained apart.",
        discussion: """
            Example: adapterctl merge round-1 site-a.safetensors=600 site-b.safetensors=400 -o round-1.safetensors

            Each site is a name in the store or a file, with = and the count of its samples (default: the images it was trained on).
            A round needs nothing but files, so any transport serves: every site trains on its own pictures with the same base and the
            same class names, and sends its adapter file; one place merges them by their counts and sends the result back. Classes
            that only some sites have are kept; rows of one class are averaged over the sites that have it. With --rule majority a value
            stays the base's unless at least half of the sites moved it, which suits sites that prune (adapterctl sparsify, or training
            with a sparsity). Pictures never travel; that alone is no guarantee of privacy.
            """)
    @Argument(help: "The name of the result.") var name: String
    @Argument(help: "NAME, FILE, NAME=SAMPLES or FILE=SAMPLES.") var sites: [String]
    @Option(help: "average or majority.") var rule = "average"
    @Option(help: "The base, where the store has several.") var base: String?
    @Flag(help: "Let the name stand for this content from now on.") var replace = false
    @Option(name: [.customShort("o"), .customLong("output")], help: "Also write the result as a file.") var file: String?
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let summary: AdapterSummary
        let sites: [String]
        let rule: String
    }

    func run() throws {
        let name = try AdapterName(name).description
        guard let rule = SiteMerge.Rule(rawValue: rule) else { throw Failure.usage("--rule is average or majority, not '\(rule)'") }
        try checkOutputs([PlannedOutput(file, .safetensors)], json: output.json)
        let store = try location.open()
        let base = try store.baseFile(base)
        Progress.begin("merging")
        let found = try sites.map { try site($0, store, base) }
        var adapter = try SiteMerge(rule, found).adapter(over: ComposingBase(base))
        _ = try store.add(&adapter, as: name, over: base, replace: replace)
        if let file { try AdapterFile.write(adapter, layout: base.layout, to: file) }
        let entry = try store.lookup(name)
        let result = Result(summary: AdapterSummary(entry), sites: found.map { "\(shortest($0.samples))*\($0.resolved.digest)" }, rule: rule.rawValue)
        try output.report("merge", result, outputs: [file].compactMap { $0 }) {
            "\(name) is \(entry.digest.short), of \(found.count, "site"), \(readable(bytes: entry.storedBytes)), \(entry.classCount, "class")"
                + (file.map { "; written to \($0)" } ?? "")
        }
    }

    private func site(_ text: String, _ store: AdapterStore, _ base: BaseFile) throws -> SiteMerge.Site {
        let parts = text.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
        let stated = parts.count > 1 ? Double(parts[parts.count - 1]) : nil
        guard parts.count == 1 || (parts.count == 2 && stated != nil) else { throw Failure.usage("a site reads NAME=SAMPLES or FILE=SAMPLES, not '\(text)'") }
        let source = parts[0]
        let resolved = try ResolvedAdapter(source, of: base, as: .noting) { store }
        guard let samples = stated ?? resolved.adapter.manifest.training.map({ Double($0.images) }) else {
            throw Failure.usage("'\(source)' does not say how many images it was trained on: give \(source)=SAMPLES")
        }
        return SiteMerge.Site(resolved, samples: samples)
    }
}

struct Sparsify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Give the smallest changes of an adapter back to the base, and store what is left.",
        discussion: """
            Example: adapterctl sparsify flowers --sparsity 0.8 --as flowers-sparse

            Changes count relative to their tensor's own; class rows are never touched. What equals the base costs a bit in the store.
            (prune is another thing: it deletes what no name stands for.)
            """)
    @Argument(help: "A name, a digest or its first digits, or name@digest.") var reference: String
    @Option(help: "Share of the trained values that give way, from 0 to below 1.") var sparsity: Double
    @Option(name: .customLong("as"), help: "The new adapter's name.") var name: String
    @Flag(help: "Let the name stand for this content from now on.") var replace = false
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let summary: AdapterSummary
        let valuesKept: Int
        let storedBytesBefore: Int
    }

    func run() throws {
        guard sparsity >= 0, sparsity < 1 else { throw ComposerError.badSparsity(sparsity) }
        let name = try AdapterName(name).description
        let store = try location.open()
        let entry = try store.lookup(reference)
        let base = try store.baseFile(entry.baseDigest)
        Progress.begin("sparsifying")
        let parent = try Adapter(store.load(entry.digest, over: base.values()))
        let layout = parent.manifest.layout(over: base.layout)
        let tensors = parent.manifest.trainableSet.tensors(of: layout)
        let old = base.vector.extended(to: layout).values
        let kept = SparseMask.kept(parent.vector.values, over: old, tensors: tensors, sparsity: sparsity)
        let values = old.indices.map { kept[$0] ? parent.vector.values[$0] : old[$0] }
        var manifest = parent.manifest
        manifest.forgetMeasurements()
        manifest.parents = [entry.digest]
        manifest.recipe = "sparsify \(shortest(sparsity)): \(entry.name ?? entry.digest.short)@\(entry.digest)"
        var adapter = Adapter(manifest: manifest, vector: TunableVector(values, layout: layout), classes: parent.classes)
        _ = try store.add(&adapter, as: name, over: base, replace: replace)
        let made = try store.lookup(name)
        let count = zip(values, old).count { $0.bitPattern != $1.bitPattern }
        let result = Result(summary: AdapterSummary(made), valuesKept: count, storedBytesBefore: entry.storedBytes)
        try output.report("sparsify", result) {
            "\(name) is \(made.digest.short): \(count) of \(values.count) values differ from the base, \(readable(bytes: made.storedBytes)) (\(entry.name ?? entry.digest.short) has \(readable(bytes: entry.storedBytes)))"
        }
    }
}
