import AdapterComposer
import AdapterFormat
import AdapterStore
import AdapterTraining
import ArgumentParser
import DiTModel
import Foundation
import Programs
import SyntheticDomains
import TensorFiles
import TensorMath

struct Train: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Train adapters of a frozen base.",
        discussion: """
            Example: adapterctl train flowers --data synthetic:flowers -o flowers.safetensors
            Several over one base: adapterctl train art birds --data synthetic:{} -o 'out/{}.safetensors'
            On several machines: mpirun -n 4 adapterctl train flowers --data synthetic:flowers -o flowers.safetensors
            """)
    @Argument(help: "The names of the domains; several are trained one after the other over one base in memory.") var names: [String] = []
    @Option(
        help:
            "synthetic:DOMAIN, a folder with one sub-folder per class, or with metadata.csv, a WebDataset, or a published set such as food-101:DIR; {} stands for the name."
    ) var data: String?
    @Option(
        help:
            "A file of jobs in place of names: a JSON object a line, {\"name\", \"data\", \"output\"} and, where they differ, \"steps\", \"seed\", \"learning_rate\", \"method\"."
    ) var jobs: String?
    @OptionGroup var selection: DataOptions
    @OptionGroup var method: MethodOptions
    @OptionGroup var scope: ScopeOptions
    @Option(help: "The base in the store.") var base: String?
    @Option(help: "A base file in place of the store's.") var baseFile: String?
    @Option(name: [.customShort("o"), .customLong("output")], help: "The file to write; {} stands for the name.") var file: String?
    @Option(help: "Go on from an adapter, a name in the store or a file, in place of the base's own values.") var from: String?
    @Flag(help: "Go on where a class folder holds no usable picture; the class stays, untrained.") var allowEmpty = false
    @Option(
        help:
            "Train a guidance vector beside each domain, NAME-guide, that gives guided pictures in one row up to this scale; it is added in a recipe, NAME+NAME-guide."
    ) var guidanceVector: Float?
    @Flag(help: "Round the result to bfloat16: half the size.") var bf16 = false
    @Flag(help: "Add the result to the store under its name.") var add = false
    @Flag(help: "With --add: let a name that stands for other content stand for the result from now on.") var replace = false
    @OptionGroup var latents: LatentOptions
    @OptionGroup var settings: TrainingOptions
    @OptionGroup var runs: RunOptions
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let name, file, digest, folder: String
        let trainedValues, steps: Int
        let loss: Float
        let heldOutError: Float?
        /// The command that takes the result into use.
        let next: String
    }

    func run() throws {
        let processes = try ProcessGroup.joined()
        let jobs = try TrainingJob.list(self).filter { !isDone($0) }
        if add, !replace { try checkNames(of: jobs) }
        let base = try baseFile.map { try adapterctl.baseFile(at: $0) } ?? location.open().baseFile(base)
        try checkOutputs(of: jobs)
        let model = try scope.model(over: base)
        let pool = ThreadPool()
        let results = try jobs.compactMap { try train($0, base, model, pool, processes) }
        if processes?.rank ?? 0 == 0 {
            let text = results.map { "\($0.name) \($0.digest.prefix(12)) written to \($0.file), loss \($0.loss), its run in \($0.folder)\nnext: \($0.next)" }
                .joined(separator: "\n")
            if !jobsAreMany, let result = results.first { try output.report("train", result) { text } } else { try output.report("train", results) { text } }
        }
        processes?.leave()
    }

    /// One adapter from its pictures to its file.
    /// - Returns: nil in the processes of a group that do not write.
    private func train(_ job: TrainingJob, _ base: BaseFile, _ model: DiT, _ pool: ThreadPool, _ processes: ProcessGroup?) throws -> Result? {
        let folder = runs.folder(for: job.output, name: job.name)
        let (set, uniform) = try method.set(base.configuration, named: job.method)
        if set.method == .full { try checkFull(model) }
        try checkGuidanceVector(set, base, processes)
        let place = try runs.place(for: job.output, name: job.name, processes)
        defer { withExtendedLifetime(place) {} }
        var data = try latents.loadData(
            job.data, selection.selection(seed: job.seed ?? settings.seed), for: base, size: model.configuration.inputSize,
            in: baseFile == nil ? location.open() : nil, mirrored: settings.flip, allowsEmpty: allowEmpty, pool: pool)
        data = try scope.picked(data, base, model, seed: job.seed ?? settings.seed, pool)
        var wanted = try settings.settings(learningRate: 5e-3, set.method)
        wanted.learningRate = job.learningRate ?? wanted.learningRate
        wanted.steps = job.steps ?? wanted.steps
        wanted.seed = job.seed ?? wanted.seed
        let lowRank = try scope.searched(uniform, method, wanted, base: base, model: model, data: data, pool: pool)
        let run = try TrainingRun.adapter(
            wanted, set, lowRank: lowRank, base: base, model: model, data: data,
            guidance: guidanceVector, startingAt: from.map { try domain($0, of: base) },
            pool: pool, processes: processes)
        func write(_ values: TrainableValues, _ path: String) throws -> Digest {
            if set.method == .full {
                var configuration = model.configuration
                configuration.numClasses = data.classNames.count
                try run.writeBase(named: job.name, configuration: configuration, to: path, as: bf16 ? .bf16 : .f32, values: values)
                return try BaseFile(path: path).digest
            }
            var adapter = try run.writeAdapter(named: job.name, base: base, rounded: bf16, to: path, values: values)
            if add, path == job.output {
                _ = try location.open().add(&adapter, as: job.name, over: base, replace: replace)
            }
            return adapter.digest
        }
        try runs.follow(run, in: place, folder: folder, what: what(job, base)) { values, path in _ = try write(values, path) }
        guard run.isFirstProcess else { return nil }
        let digest = try write(run.result, job.output)
        if let guidanceVector {
            let name = job.name + "-guide", file = job.guidanceOutput
            var vector = try run.writeGuidance(
                named: name, scale: guidanceVector, domain: .init(name: job.name, digest: digest), base: base, rounded: bf16, to: file)
            if add { _ = try location.open().add(&vector, as: name, over: base, replace: replace) }
            note("\(name) \(vector.digest.short) written to \(file)")
        }
        return Result(
            name: job.name, file: job.output, digest: digest.description, folder: folder,
            trainedValues: run.trainedValues, steps: run.step, loss: run.history.recentLoss, heldOutError: run.facts.heldOutError,
            next: next(job, base, isBase: set.method == .full, class: data.classNames.first))
    }

    /// What a base cannot hold.
    private func checkFull(_ model: DiT) throws {
        guard !add else { throw Failure.usage("--add is for adapters; the result of --method full is a base: adapterctl base import takes it") }
        guard model.positionScale == 1 else {
            throw Failure.usage("--position-scale is for adapters; the result of --method full is a base, whose positions are as they are")
        }
    }

    /// What `--from` names.
    private func domain(_ source: String, of base: BaseFile) throws -> Adapter {
        let adapter = try ResolvedAdapter(source, of: base, as: .noting) { try location.open() }.adapter
        guard adapter.manifest.isDomain else {
            throw Failure.usage("--from goes on from a domain, and '\(source)' is a vector for \(adapter.manifest.role), which is added to one")
        }
        return adapter
    }

    private func checkGuidanceVector(_ set: TrainableSet, _ base: BaseFile, _ processes: ProcessGroup?) throws {
        guard let guidanceVector else { return }
        guard guidanceVector > 1, guidanceVector.isFinite else { throw Failure.usage("--guidance-vector is a guidance scale above 1, not \(guidanceVector)") }
        guard set.method != .full, settings.sparsity == 0, settings.tokenCut == "none", processes == nil else {
            throw Failure.usage("--guidance-vector trains two vectors: without --method full, --sparsity, --token-cut and several processes")
        }
        guard base.classes.hasNullRow else { throw TrainingError.noNullRow }
    }

    /// Whether an earlier call of a list that is resumed has made it.
    private func isDone(_ job: TrainingJob) -> Bool {
        let folder = runs.folder(for: job.output, name: job.name), files = FileManager.default
        guard runs.resume, jobsAreMany, files.fileExists(atPath: job.output), !files.fileExists(atPath: RunPlace.checkpoint(in: folder)) else {
            return false
        }
        if let state = RunPlace.state(in: folder), let (step, _) = TrainingRun.progress(ofCheckpoint: state), step < job.steps ?? settings.steps,
            settings.earlyStop == nil
        {
            return false
        }
        note("\(job.name) is done: \(job.output)")
        return true
    }

    /// Refuses names that stand for something before any of them is trained.
    private func checkNames(of jobs: [TrainingJob]) throws {
        let entries = try location.open().list()
        for job in jobs {
            if let known = entries.first(where: { $0.name == job.name }) { throw StoreError.nameTaken(name: job.name, digest: known.digest) }
        }
    }

    /// Refuses outputs that would take the place of what the run reads.
    private func checkOutputs(of jobs: [TrainingJob]) throws {
        for job in jobs {
            for source in [baseFile, from].compactMap({ $0 })
            where URL(filePath: source).resolvingSymlinksInPath().path == URL(filePath: job.output).resolvingSymlinksInPath().path {
                throw Failure.usage("-o '\(job.output)' is what the run starts from: give another file")
            }
        }
    }

    /// The command that takes the result into use.
    private func next(_ job: TrainingJob, _ base: BaseFile, isBase: Bool, class name: String?) -> String {
        let store = location.folder.map { " --store \(shellWord($0))" } ?? "", file = shellWord(job.output)
        if isBase { return "adapterctl base import \(file)\(store)" }
        if add { return "adapterctl sample \(job.name)\(name.map { " --class \(shellWord($0))" } ?? "") -o \(job.name).png\(store)" }
        let opened = try? location.open()
        let entries = (try? opened?.listBases()) ?? []
        let hasBase = entries.contains { $0.digest == base.digest || $0.decodedCard?.roundedFrom == base.digest }
        let isTaken = (try? opened?.list())?.contains { $0.name == job.name } ?? false
        return [
            opened == nil ? "adapterctl init\(store)" : nil,
            hasBase ? nil : baseFile.map { "adapterctl base import \(shellWord($0))\(store)" },
            "adapterctl add \(job.name) \(file)\(isTaken ? " --replace" : "")\(store)",
        ].compactMap { $0 }.joined(separator: " && ")
    }

    private var jobsAreMany: Bool { jobs != nil || names.count > 1 }

    private func what(_ job: TrainingJob, _ base: BaseFile) -> [String: String] {
        [
            "name": job.name, "data": job.data, "output": job.output, "base": base.digest.description,
            "command": CommandLine.arguments.joined(separator: " "),
        ]
    }
}

/// One adapter to train.
struct TrainingJob: Decodable {
    let name, data, output: String
    var steps: Int?
    var seed: UInt64?
    var learningRate: Float?
    var method: String?

    /// The file of the guidance vector beside the domain's.
    var guidanceOutput: String {
        let stem = output.hasSuffix(".safetensors") ? String(output.dropLast(".safetensors".count)) : output
        return stem + "-guide.safetensors"
    }

    enum CodingKeys: String, CodingKey, CaseIterable {
        case name, data, output, steps, seed, method
        case learningRate = "learning_rate"
    }

    /// The jobs of a command line: its names, or the lines of its file.
    static func list(_ command: Train) throws -> [TrainingJob] {
        if command.jobs != nil, !command.names.isEmpty || command.data != nil || command.file != nil {
            throw Failure.usage("--jobs says of each job its name, data and output: give no names, --data or -o beside it")
        }
        let jobs = try command.jobs.map(read) ?? named(command)
        if jobs.count > 1, let folder = command.runs.runFolder, !folder.contains("{}") {
            throw Failure.usage("--run-folder needs {} in the place of the name, where there are \(jobs.count) jobs")
        }
        for job in jobs {
            _ = try AdapterName(job.name)
            guard job.steps ?? 1 > 0, job.learningRate ?? 1 > 0, (job.learningRate ?? 1).isFinite else {
                throw Failure.usage("job '\(job.name)': steps and learning rate are above 0")
            }
            if let method = job.method, !TrainableSet.Method.trained.contains(where: { $0.rawValue == method }) {
                throw Failure.usage("job '\(job.name)': there is no method '\(method)'")
            }
            try job.checkPaths()
        }
        for (what, values) in [("name", jobs.map(\.name)), ("output", jobs.map(\.output))] {
            if let twice = Dictionary(grouping: values, by: { $0 }).filter({ $1.count > 1 }).keys.min() {
                throw Failure.usage("two jobs have the \(what) '\(twice)'")
            }
        }
        return jobs
    }

    /// What would otherwise be found after the jobs before it, or after its own training.
    private func checkPaths() throws {
        try checkData(data)
        try checkOutputs([.trained(output)])
    }

    private static func named(_ command: Train) throws -> [TrainingJob] {
        guard let first = command.names.first else { throw Failure.usage("give the name of the domain, or --jobs FILE") }
        guard let data = command.data, let output = command.file else { throw Failure.usage("give --data and -o for '\(first)'") }
        guard command.names.count == 1 || output.contains("{}") else {
            throw Failure.usage("-o needs {} in the place of the name, where there are \(command.names.count) names")
        }
        return command.names.map { TrainingJob(name: $0, data: data.replacing("{}", with: $0), output: output.replacing("{}", with: $0)) }
    }

    private static func read(_ path: String) throws -> [TrainingJob] {
        let data: Data
        do { data = try Data(contentsOf: URL(filePath: path)) } catch { throw SystemFault(error, at: path) }
        guard let text = String(validating: data.withoutByteOrderMark, as: UTF8.self) else {
            throw Failure.usage("'\(path)' is not UTF-8 text: save it as UTF-8")
        }
        let lines = text.split(omittingEmptySubsequences: false, whereSeparator: { ["\n", "\r\n", "\r"].contains($0) }).enumerated().filter {
            !$1.allSatisfy(\.isWhitespace)
        }
        guard !lines.isEmpty else { throw Failure.usage("'\(path)' holds no job") }
        return try lines.map { number, line in
            do {
                let keys = (try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]).keys
                if let other = keys.filter({ CodingKeys(rawValue: $0) == nil }).min() {
                    throw Failure.usage("line \(number + 1) of '\(path)': '\(other)' is none of \(CodingKeys.allCases.map(\.rawValue).joined(separator: ", "))")
                }
                return try JSONDecoder().decode(TrainingJob.self, from: Data(line.utf8))
            } catch  where !(error is Failure) {
                throw Failure.usage("line \(number + 1) of '\(path)' is no job: give {\"name\": ..., \"data\": ..., \"output\": ...}")
            }
        }
    }
}
