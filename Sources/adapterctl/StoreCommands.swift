import AdapterFormat
import AdapterStore
import ArgumentParser
import DiTModel
import Foundation
import Synchronization
import SystemIO
import TensorFiles

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
        abstract: "Take an adapter file into the store under a name.",
        discussion: """
            Example: adapterctl add flowers adapters/flowers.safetensors
            Example: adapterctl add pets pets-lora/
            """)
    @Argument(help: "a-z, 0-9, '.', '_', '-'; 64 characters at most.") var name: String
    @Argument(help: "An adapter file, a checkpoint of a DiffFit port, or a LoRA adapter: a file or folder of PEFT, diffusers or kohya.") var file: String
    @Option(help: "The base it belongs to, where the store has several.") var base: String?
    @Flag(help: "Let the name stand for this content from now on.") var replace = false
    @OptionGroup var reading: ReadingOptions
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func run() throws {
        let name = try AdapterName(name).description
        let store = try location.open()
        let base = try store.baseFile(base)
        let content = try TensorFile(path: AdapterFile.weights(file))
        let remarks = Remarks()
        var adapter = try AdapterFile.read(content, base: base, as: reading.reading(to: remarks))
        let outcome = try store.add(&adapter, as: name, over: base, replace: replace)
        let entry = try store.lookup(name)
        let from = content.section.map { ", from '\($0)'" } ?? ""
        try output.report("add", AdapterSummary(entry), warnings: remarks.all + store.twins(ofAdapter: name)) {
            switch outcome {
            case .unchanged: "\(name) is already \(entry.digest.short): nothing to do"
            case .replaced(let old): "\(name) is now \(entry.digest.short), \(readable(bytes: entry.storedBytes)) (was \(old.short))\(from)"
            case .added: "\(name) is \(entry.digest.short), \(readable(bytes: entry.storedBytes)), \(entry.classCount, "class")\(from)"
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
        if !yes { try confirm("remove '\(name)'") }
        let digest = try store.remove(name)
        try output.report("remove", ["name": name, "digest": digest?.description ?? ""]) { "removed \(name)" }
    }
}

/// Asks on a terminal before something is removed; scripts say it beforehand.
func confirm(_ what: String) throws {
    guard isatty(STDIN_FILENO) == 1 else { throw Failure.usage("remove asks before it acts: give --yes in scripts") }
    StandardStreams.say("\(what)? [y/N] ")
    guard readLine()?.lowercased() == "y" else { throw Failure.interrupted("nothing was removed") }
}

struct Rename: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Rename an adapter.", discussion: "Example: adapterctl rename flowers garden")
    @Argument(completion: .adapterNames) var old: String
    @Argument var new: String
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func run() throws {
        let name = try AdapterName(new).description
        let store = try location.open()
        try store.rename(old, to: name)
        try output.report("rename", ["old": old, "new": name], warnings: store.twins(ofAdapter: name)) { "\(old) is now \(name)" }
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
            "\(dryRun ? "would delete" : "deleted") \(report.adapters.count, "adapter") and \(report.files.count, "file"), \(readable(bytes: report.bytes))"
        }
    }
}

struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write an adapter as a safetensors file, or a LoRA adapter as PEFT or diffusers loads it.",
        discussion: """
            Example: adapterctl export flowers -o flowers.safetensors
            Example: adapterctl export pets --format peft -o pets-lora/
            """)
    @Argument(help: "A name, a digest or its first digits, or name@digest.", completion: .adapterNames) var reference: String
    @Option(name: [.customShort("o"), .customLong("output")], help: "The file to write, or - for standard output, or the new folder.") var file: String
    @Option(help: "difffit (one file with everything), or of a LoRA adapter peft or diffusers (a folder).") var format = "difffit"
    @Flag(help: "Round to bfloat16: half the size, and another digest.") var bf16 = false
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func run() throws {
        try checkOutputs([PlannedOutput(file, format == "difffit" ? .safetensors : .folder)], json: output.json)
        let store = try location.open()
        let entry = try store.lookup(reference)
        let base = try store.baseFile(entry.baseDigest)
        var adapter = try Adapter(store.load(entry.digest, over: base.values()))
        adapter.manifest.name = entry.name
        if format != "difffit", adapter.manifest.distillation?.steps != nil {
            throw Failure.usage("'\(reference)' holds a vector for each step of a sampler, which --format \(format) has no form for: export it as difffit")
        }
        if bf16 { adapter = adapter.roundedToBFloat16(base.layout) }
        let type: DType = bf16 ? .bf16 : .f32
        switch format {
        case "difffit": try AdapterFile.write(adapter, layout: base.layout, to: file, as: type)
        case "peft": try LowRankFolder.writePEFT(adapter, base: base, to: file, as: type)
        case "diffusers": try LowRankFolder.writeDiffusers(adapter, base: base, to: file, as: type)
        default: throw Failure.usage("--format takes difffit, peft or diffusers, not '\(format)'")
        }
        let digest = adapter.digest
        try output.report("export", ["file": file, "digest": digest.description], outputs: [file]) { "wrote \(digest.short) to \(file)" }
    }
}

/// What of an adapter file of other software only its user knows.
struct ReadingOptions: ParsableArguments {
    @Option(help: "alpha of a LoRA adapter that does not say it; its pairs are scaled by alpha / rank.") var loraAlpha: Double?
    @Option(help: "That factor itself.") var loraScale: Double?
    @Option(help: "Classes of a checkpoint whose table may have no null row: as many rows, or one more.") var classes: Int?

    func validate() throws {
        guard loraAlpha == nil || loraScale == nil else { throw ValidationError("give --lora-alpha or --lora-scale") }
        guard (loraAlpha ?? 1).isFinite, (loraScale ?? 1).isFinite else { throw ValidationError("--lora-alpha and --lora-scale are finite numbers") }
        guard (classes ?? 1) > 0 else { throw ValidationError("--classes is above 0") }
    }

    /// - Parameter remarks: where what is taken though the file leaves it open is put.
    func reading(to remarks: Remarks) -> AdapterReading {
        var reading = AdapterReading(loraAlpha: loraAlpha, loraScale: loraScale, classes: classes)
        reading.onRemark = { remarks.add($0) }
        return reading
    }
}

/// What was said while a file was read, each once.
final class Remarks: Sendable {
    private let texts = Mutex<[String]>([])
    var all: [String] { texts.withLock { $0 } }
    func add(_ text: String) { texts.withLock { if !$0.contains(text) { $0.append(text) } } }
}
