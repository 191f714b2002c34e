import AdapterFormat
import AdapterStore
import AdapterTraining
import ArgumentParser
import DiTModel
import Diffusion
import Foundation
import TensorMath

struct BaseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "base", abstract: "Import, export, list, rename, remove, train and sparsify frozen bases.",
        subcommands: [
            BaseImport.self, BaseExport.self, BaseList.self, BaseShow.self, BaseRename.self, BaseRemove.self, BaseTrain.self, BaseSparsify.self,
        ])
}

struct BaseList: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the bases.", discussion: "Example: adapterctl base list")
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Row: Encodable {
        let digest: String
        let name: String
        let bytes: Int
        /// "2:4" of a sparse base.
        let pattern: String?
    }

    func run() throws {
        let rows = try location.open().listBases().map { entry in
            Row(
                digest: entry.digest.description, name: entry.decodedCard?.name ?? "?", bytes: entry.size, pattern: entry.decodedCard?.sparsity?.pattern)
        }
        try output.report("base list", rows) {
            let isSparse = rows.contains { $0.pattern != nil }
            return table(
                [["NAME", "DIGEST", "SIZE"] + (isSparse ? ["PATTERN"] : [])]
                    + rows.map { [$0.name, String($0.digest.prefix(12)), readable(bytes: $0.bytes)] + (isSparse ? [$0.pattern ?? "-"] : []) })
        }
    }
}

struct BaseRename: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rename", abstract: "Give a base another name; its adapters stay with it.",
        discussion: """
            Example: adapterctl base rename dit-xl-2-256x256 imagenet

            Bases and adapters have names of their own kind: --base and the base verbs take a base's, everything else an adapter's.
            """)
    @Argument(help: "Name or digest.") var reference: String
    @Argument(help: "a-z, 0-9, '.', '_', '-'; 64 characters at most.") var name: String
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func run() throws {
        let name = try AdapterName(name).description
        let store = try location.open()
        let base = try store.base(reference)
        try store.renameBase(base.digest, to: name)
        try output.report(
            "base rename", ["digest": base.digest.description, "old": base.decodedCard?.name ?? "?", "name": name], warnings: store.twins(ofBase: name)
        ) {
            "base \(base.digest.short) is now \(name) (was \(base.decodedCard?.name ?? "?"))"
        }
    }
}

struct BaseRemove: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Remove a base that no adapter needs, and free its file.",
        discussion: "Example: adapterctl base remove imagenet --yes")
    @Argument(help: "Name or digest.") var reference: String
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let digest: String
        let name: String
        let freedBytes: Int
    }

    func run() throws {
        let store = try location.open()
        let base = try store.base(reference)
        let name = base.decodedCard?.name ?? "?"
        if !yes { try confirm("remove the base '\(name)' (\(base.digest.short))") }
        let freed = try store.removeBase(base.digest)
        try output.report("base remove", Result(digest: base.digest.description, name: name, freedBytes: freed)) {
            "removed the base \(name) \(base.digest.short), \(readable(bytes: freed)) freed; running servers keep what they have open"
        }
    }
}

struct BaseTrain: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train", abstract: "Train a base from nothing, or further.",
        discussion: """
            Example: adapterctl base train --data synthetic:mixture --steps 40000 -o base.safetensors
            Example: adapterctl base train --from base.safetensors --pattern 2:4 --data synthetic:mixture --steps 4000 -o base-24.safetensors

            Example: adapterctl base train --prediction classes --data pictures --validation 0.05 --flip --name judge -o judge.safetensors

            With --pattern the network computes with half of the weights at every step, chosen anew by magnitude, while all of them learn; the
            result is a sparse base.
            """)
    @Option(help: "synthetic:mixture, synthetic:DOMAIN, or pictures in any of the forms that train takes.") var data: String
    @OptionGroup var selection: DataOptions
    @Option(help: "A base file to train further, with its shape and on its classes, in place of one from nothing.") var from: String?
    @Option(help: "2:4 keeps two of every four neighbouring weights of the blocks' matrices.") var pattern: String?
    @Option(help: "Side of the images in pixels.") var size = 32
    @Option var patch = 4
    @Option var width = 192
    @Option var depth = 8
    @Option var heads = 6
    @Option(help: "epsilon (VP path), velocity or x0 (rectified flow); or classes: a classifier of pictures, which eval takes as --judge.")
    var prediction = "x0"
    @Option(help: "The name on the base's card.") var name = "shipped"
    @Option(help: "How the matrices are stored: f32 or bf16.") var store: String = "bf16"
    @Option(name: [.customShort("o"), .customLong("output")], help: "The base file to write.") var file: String
    @OptionGroup var settings: TrainingOptions
    @OptionGroup var runs: RunOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let name = try AdapterName(name).description
        try checkOutputs([.trained(file)])
        guard (1...4096).contains(size), (1...64).contains(depth), (1...16384).contains(width), (1...width).contains(heads), (1...size).contains(patch) else {
            throw Failure.usage("--size is between 1 and 4096, --depth to 64, --width to 16384, --heads at most the width and --patch at most the size")
        }
        guard size % patch == 0, width % heads == 0, width % 4 == 0 else {
            throw Failure.usage("--size must be a multiple of --patch, and --width of --heads and of 4")
        }
        let stored = try dtypeNamed(store, "--store")
        if let pattern { try checkPattern(pattern) }
        let earlier = try from.map(earlier)
        let processes = try ProcessGroup.joined()
        try checkData(data)
        let place = try runs.place(for: file, name: name, processes)
        defer { withExtendedLifetime(place) {} }
        let pool = ThreadPool()
        let data = try loadData(
            data, selection.selection(seed: settings.seed), size: earlier?.configuration.inputSize ?? size, drawn: 1500, pool: pool)
        let configuration = earlier?.configuration ?? shape(classes: data.classNames.count)
        var wanted = try settings.settings(learningRate: 1e-3, .full)
        wanted.pattern = pattern
        if pattern != nil, let fault = configuration.faultOfTwoOfFour { throw Failure.usage("--pattern: \(fault)") }
        let run =
            try earlier.map { try TrainingRun.base(wanted, from: $0, data: data, pool: pool, processes: processes) }
            ?? (isClassifier
                ? TrainingRun.classifier(wanted, configuration, convention: convention(), data: data, pool: pool, processes: processes)
                : TrainingRun.base(
                    wanted, configuration, objective: TrainingObjective(convention(), weighting: LossWeighting(settings.lossWeight)), data: data, pool: pool,
                    processes: processes))
        let what = ["name": name, "output": file, "command": CommandLine.arguments.joined(separator: " ")]
        func write(_ values: TrainableValues, _ path: String) throws {
            try run.writeBase(named: name, configuration: configuration, to: path, as: stored, values: values)
        }
        try runs.follow(run, in: place, folder: runs.folder(for: file, name: name), what: what, keep: write)
        if run.isFirstProcess {
            try write(run.result, file)
            let digest = try BaseFile(path: file).digest
            try output.report("base train", ["file": file, "digest": digest.description]) {
                "base \(digest.short) written to \(file), loss \(run.history.recentLoss)\nnext: "
                    + (isClassifier ? "adapterctl eval ... --judge \(shellWord(file))" : "adapterctl base import \(shellWord(file))")
            }
        }
        processes?.leave()
    }

    private func shape(classes: Int) -> DiTConfiguration {
        DiTConfiguration(
            inputSize: size, patchSize: patch, inChannels: 3, hiddenSize: width, depth: depth, numHeads: heads, numClasses: classes,
            // A classifier has a second half of outputs to tell classes by.
            learnSigma: isClassifier)
    }

    private var isClassifier: Bool { prediction == ClassifierSource.prediction }

    private func convention() throws -> DiffusionConvention {
        try DiffusionConvention(
            pathNamed: prediction == "epsilon" ? "linear-vp" : "linear", predictionNamed: isClassifier ? "x0" : prediction, learnSigma: false,
            timeScale: prediction == "epsilon" ? 1 : 1000)
    }

    /// A base of pixels to train further.
    private func earlier(_ path: String) throws -> BaseFile {
        guard URL(filePath: path).resolvingSymlinksInPath().path != URL(filePath: file).resolvingSymlinksInPath().path else {
            throw Failure.usage("-o '\(file)' is what the run starts from: give another file")
        }
        let base = try baseFile(at: path)
        guard base.configuration.inChannels == 3, !base.configuration.learnSigma else {
            throw Failure.usage("--from takes a base of pixels; '\(path)' has latents, on which adapterctl train --method full trains")
        }
        return base
    }
}
