import AdapterFormat
import AdapterStore
import ArgumentParser
import DiTModel
import Foundation

struct Init: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Create an empty store.", discussion: "Example: adapterctl init --store ~/adapters")
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func run() throws {
        let store = try location.create()
        try output.report("init", ["store": store.path]) { "created \(store.path)" }
    }
}

/// What lists and results say of one adapter.
struct AdapterSummary: Encodable {
    let name: String?
    let digest: String
    let base: String
    let classes: Int
    let trainableSet: String
    let storedBytes: Int
    let contentBytes: Int

    init(_ entry: AdapterEntry) {
        name = entry.name
        digest = entry.digest.description
        base = entry.baseDigest.description
        classes = entry.classCount
        trainableSet = entry.decodedManifest?.trainableSet.method.rawValue ?? "?"
        storedBytes = entry.storedBytes
        contentBytes = entry.contentBytes
    }
}

struct Add: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Take an adapter file into the store under a name.", discussion: "Example: adapterctl add flowers adapters/flowers.safetensors")
    @Argument(help: "a-z, 0-9, '.', '_', '-'; 64 characters at most.") var name: String
    @Argument(help: "An adapter file: safetensors with absolute values.") var file: String
    @Option(help: "The base it belongs to, where the store has several.") var base: String?
    @Flag(help: "Let the name stand for this content from now on.") var replace = false
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func run() throws {
        let name = try AdapterName(name).description
        let store = try location.open()
        let base = try store.baseFile(base)
        var adapter = try AdapterFile.read(path: file, base: base)
        adapter.manifest.name = nil
        if adapter.manifest.golden == nil {
            adapter.manifest.golden = try DiT(base).goldenValues(adapter.vector, adapter.classes, layout: base.layout)
        }
        let outcome = try store.add(adapter.stored(), as: name, over: base.values(), replace: replace, precision: adapter.storedPrecision)
        let entry = try store.lookup(name)
        try output.report("add", AdapterSummary(entry)) {
            switch outcome {
            case .unchanged: "\(name) is already \(entry.digest.short): nothing to do"
            case .replaced(let old): "\(name) is now \(entry.digest.short), \(readable(bytes: entry.storedBytes)) (was \(old.short))"
            case .added: "\(name) is \(entry.digest.short), \(readable(bytes: entry.storedBytes)), \(entry.classCount) classes"
            }
        }
    }
}

struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the adapters by name.", discussion: "Example: adapterctl list --json")
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func run() throws {
        let entries = try location.open().list()
        try output.report("list", entries.map(AdapterSummary.init)) {
            entries.isEmpty
                ? "no adapters yet: adapterctl add NAME FILE"
                : table(
                    [["NAME", "DIGEST", "CLASSES", "SET", "STORED", "BASE"]]
                        + entries.map { entry in
                            let summary = AdapterSummary(entry)
                            return [
                                entry.name ?? "-", entry.digest.short, "\(entry.classCount)", summary.trainableSet,
                                readable(bytes: entry.storedBytes), entry.baseDigest.short,
                            ]
                        })
        }
    }
}

struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show one adapter's manifest.", discussion: "Example: adapterctl show flowers")
    @Argument(help: "A name, a digest or its first digits, or name@digest.") var reference: String
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Details: Encodable {
        let summary: AdapterSummary
        let manifest: AdapterManifest?
    }

    func run() throws {
        let entry = try location.open().lookup(reference)
        let manifest = entry.decodedManifest
        try output.report("show", Details(summary: AdapterSummary(entry), manifest: manifest)) {
            var rows = [
                ["name", entry.name ?? "-"], ["digest", "\(entry.digest)"], ["base", "\(entry.baseDigest)"],
                ["stored", "\(readable(bytes: entry.storedBytes)) of \(readable(bytes: entry.contentBytes))"],
            ]
            if let manifest {
                rows += [
                    ["set", "\(manifest.trainableSet.method.rawValue), gammas in \(manifest.trainableSet.gammaDepth) blocks"],
                    ["predicts", "\(manifest.prediction) on the \(manifest.path) path"], ["classes", manifest.classes.joined(separator: ", ")],
                ]
                if let facts = manifest.training {
                    rows.append(["training", "\(facts.steps) steps of \(facts.batch) from \(facts.data), seed \(facts.seed), loss \(facts.loss)"])
                }
            }
            return table(rows)
        }
    }
}

struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Forget a name; its content stays until prune.", discussion: "Example: adapterctl remove flowers --yes")
    @Argument var name: String
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func run() throws {
        let store = try location.open()
        if !yes {
            guard isatty(STDIN_FILENO) == 1 else { throw Failure.usage("remove asks before it acts: give --yes in scripts") }
            FileHandle.standardError.write(Data("remove '\(name)'? [y/N] ".utf8))
            guard readLine()?.lowercased() == "y" else { throw Failure.interrupted("nothing was removed") }
        }
        let digest = try store.remove(name)
        try output.report("remove", ["name": name, "digest": digest?.description ?? ""]) { "removed \(name)" }
    }
}

struct Rename: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Rename an adapter.", discussion: "Example: adapterctl rename flowers garden")
    @Argument var old: String
    @Argument var new: String
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func run() throws {
        let name = try AdapterName(new).description
        try location.open().rename(old, to: name)
        try output.report("rename", ["old": old, "new": name]) { "\(old) is now \(name)" }
    }
}

struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Read everything back and check every digest.", discussion: "Example: adapterctl verify --golden")
    @Flag(help: "Also make each adapter's recorded network call again and compare.") var golden = false
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Finding: Encodable {
        let subject: String
        let finding: String
    }

    func run() throws {
        let store = try location.open()
        var known: [Digest: BaseValues] = [:]
        for entry in try store.listBases() {
            known[entry.digest] = try? store.baseFile(entry.digest).values()
        }
        var report = try store.verify { known[$0] }
        if golden, report.damaged.isEmpty { try repeatGoldenCalls(store, known, &report) }
        let findings = report.entries.map { Finding(subject: "\($0.subject)", finding: "\($0.finding)") }
        try output.report("verify", findings) {
            report.damaged.isEmpty
                ? "\(report.entries.count) entries are sound"
                : report.damaged.map { "damaged: \($0.subject): \($0.finding)" }.joined(separator: "\n")
        }
        if !report.damaged.isEmpty { throw ExitCode(6) }
    }

    private func repeatGoldenCalls(_ store: AdapterStore, _ known: [Digest: BaseValues], _ report: inout VerifyReport) throws {
        for (digest, values) in known.sorted(by: { $0.key < $1.key }) {
            let base = try store.baseFile(digest)
            let model = try DiT(base)
            for entry in try store.list() where entry.baseDigest == digest {
                guard let recorded = entry.decodedManifest?.golden else { continue }
                let adapter = try store.load(entry.digest, over: values)
                let isSame = DiT.agree(model.goldenValues(adapter.vector, adapter.classes, layout: base.layout), recorded)
                report.entries.append(
                    VerifyEntry(
                        subject: .adapter(entry.digest),
                        finding: isSame ? .sound : .damaged("The network does not give what the manifest of \(entry.name ?? entry.digest.short) records.")))
            }
        }
    }
}

struct Prune: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Delete content that no name stands for.", discussion: "Example: adapterctl prune --dry-run")
    @Flag(help: "Only say what would go.") var dryRun = false
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let adapters: [String]
        let files: [String]
        let bytes: Int
    }

    func run() throws {
        let report = try location.open().prune(dryRun: dryRun)
        let result = Result(adapters: report.adapters.map(\.description), files: report.files, bytes: report.bytes)
        try output.report("prune", result) {
            "\(dryRun ? "would delete" : "deleted") \(report.adapters.count) adapters and \(report.files.count) files, \(readable(bytes: report.bytes))"
        }
    }
}

struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write an adapter as a safetensors file.", discussion: "Example: adapterctl export flowers -o flowers.safetensors")
    @Argument(help: "A name, a digest or its first digits, or name@digest.") var reference: String
    @Option(name: [.customShort("o"), .customLong("output")], help: "The file to write.") var file: String
    @Flag(help: "Round to bfloat16: half the size, and another digest.") var bf16 = false
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func run() throws {
        let store = try location.open()
        let entry = try store.lookup(reference)
        let base = try store.baseFile(entry.baseDigest)
        var adapter = try Adapter(store.load(entry.digest, over: base.values()))
        adapter.manifest.name = entry.name
        if bf16 { adapter = adapter.roundedToBFloat16(base.layout) }
        try AdapterFile.write(adapter, layout: base.layout, to: file, as: bf16 ? .bf16 : .f32)
        let digest = adapter.digest
        try output.report("export", ["file": file, "digest": digest.description]) { "wrote \(digest.short) to \(file)" }
    }
}

struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show what the store holds.", discussion: "Example: adapterctl status")
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Counts: Encodable {
        let store: String
        let generation: UInt64
        let names, adapters, bases, adapterBytes, contentBytes, baseBytes: Int
    }

    func run() throws {
        let store = try location.open()
        let s = try store.statistics()
        let counts = Counts(
            store: store.path, generation: s.generation, names: s.names, adapters: s.adapters, bases: s.bases, adapterBytes: s.adapterBytes,
            contentBytes: s.contentBytes, baseBytes: s.baseBytes)
        try output.report("status", counts) {
            """
            \(store.path), generation \(s.generation)
            \(s.names) names for \(s.adapters) adapters: \(readable(bytes: s.adapterBytes)) stored of \(readable(bytes: s.contentBytes))
            \(s.bases) bases: \(readable(bytes: s.baseBytes))
            """
        }
    }
}
