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
        let outcome = try store.add(&adapter, as: name, over: base, replace: replace)
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

struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Forget a name; its content stays until prune.", discussion: "Example: adapterctl remove flowers --yes")
    @Argument(completion: .adapterNames) var name: String
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
    @Argument(completion: .adapterNames) var old: String
    @Argument var new: String
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func run() throws {
        let name = try AdapterName(new).description
        try location.open().rename(old, to: name)
        try output.report("rename", ["old": old, "new": name]) { "\(old) is now \(name)" }
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
    @Argument(help: "A name, a digest or its first digits, or name@digest.", completion: .adapterNames) var reference: String
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
