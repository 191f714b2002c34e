import AdapterFormat
import AdapterStore
import AdapterTraining
import ArgumentParser
import DiTModel
import Diffusion
import Foundation
import SyntheticDomains
import TensorMath

/// How long and how fast a run trains, and how it is watched.
struct TrainingOptions: ParsableArguments {
    @Option var steps = 1500
    @Option var batch = 64
    @Option var seed: UInt64 = 1
    @Option(help: "AdamW's largest step (default: 1e-3 for a base, 5e-3 for an adapter).") var learningRate: Float?
    @Option(help: "constant, min-snr:G or soft-min-snr:G.") var lossWeighting = "constant"
    @Option(help: "Decay of the moving average that is kept as the result.") var emaDecay = 0.998
    @Flag(help: "Mirror images at random.") var flip = false
    @Option(help: "Steps between checkpoints.") var checkpointEvery = 500
    @Flag(help: "Go on from the checkpoint beside the output, if there is one.") var resume = false

    func settings(learningRate usual: Float) -> TrainingSettings {
        var settings = TrainingSettings(steps: steps, batch: batch, seed: seed, learningRate: learningRate ?? usual)
        settings.lossWeighting = lossWeighting
        settings.emaDecay = emaDecay
        settings.flips = flip
        return settings
    }

    /// Runs to the end: a checkpoint at each interval and on Ctrl-C, progress on standard error.
    func follow(_ run: TrainingRun, checkpoint: String) throws {
        guard steps > 0, batch > 0, checkpointEvery > 0 else { throw Failure.usage("--steps, --batch and --checkpoint-every are above 0") }
        if resume, FileManager.default.fileExists(atPath: checkpoint) {
            try run.restore(from: checkpoint)
            note("going on at step \(run.step) of \(steps)")
        }
        Interruption.watch()
        var progress = Progress(total: steps, done: run.step, batch: batch)
        while run.step < steps {
            let loss = try run.advance()
            progress.show(step: run.step, loss: loss)
            if Interruption.happened {
                try run.save(to: checkpoint)
                throw Failure.interrupted("stopped at step \(run.step); go on with --resume")
            }
            if run.step % checkpointEvery == 0, run.step < steps { try run.save(to: checkpoint) }
        }
        progress.finish()
        try? FileManager.default.removeItem(atPath: checkpoint)
    }
}

/// Ctrl-C and a polite kill, seen at the next step.
enum Interruption {
    // Written by the signal handler alone, read by the loop; one aligned word.
    private nonisolated(unsafe) static var flag: sig_atomic_t = 0

    static func watch() {
        var numbers = sigset_t()
        unsafe sigemptyset(&numbers)
        for number in [SIGINT, SIGTERM] {
            signal(number) { _ in unsafe Interruption.flag = 1 }
            unsafe sigaddset(&numbers, number)
        }
        // A parent may have left them blocked.
        unsafe pthread_sigmask(SIG_UNBLOCK, &numbers, nil)
    }

    static var happened: Bool { unsafe flag != 0 }
}

/// Loss, images per second and time left: one moving line on a terminal, a line per hundred steps elsewhere.
struct Progress {
    private let total, first, batch: Int
    private let start = ContinuousClock.now
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private var sum: Float = 0
    private var count = 0

    init(total: Int, done: Int, batch: Int) { (self.total, first, self.batch) = (total, done, batch) }

    mutating func show(step: Int, loss: Float) {
        sum += loss
        count += 1
        guard step % (isTerminal ? 10 : 100) == 0 || step == total else { return }
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let rate = Double((step - first) * batch) / max(seconds, 1e-9)
        let left = Int(Double((total - step) * batch) / max(rate, 1e-9))
        let line = String(
            format: "step %d/%d  loss %.4f  %.0f images/s  %d:%02d:%02d left", step, total, sum / Float(count), rate, left / 3600, left / 60 % 60,
            left % 60)
        FileHandle.standardError.write(Data((isTerminal ? "\r\u{1B}[K" + line : line + "\n").utf8))
        (sum, count) = (0, 0)
    }

    func finish() {
        if isTerminal { FileHandle.standardError.write(Data("\n".utf8)) }
    }
}

/// Training images as the command line names them.
func loadData(_ text: String, size: Int, perClass: Int, seed: UInt64) throws -> TrainingData {
    if text.hasPrefix("synthetic:") {
        let name = String(text.dropFirst("synthetic:".count))
        guard let domain = SyntheticDomain.named(name) else {
            let known = ([SyntheticDomain.base] + SyntheticDomain.downstream).map(\.name).joined(separator: ", ")
            throw Failure.usage("there is no synthetic domain '\(name)': known are \(known)")
        }
        guard (1...100_000).contains(perClass) else { throw Failure.usage("--per-class is between 1 and 100000, not \(perClass)") }
        let labels = domain.classes.indices.flatMap { [Int](repeating: $0, count: perClass) }
        let images = labels.enumerated().map { domain.image(class: $1, index: $0 % perClass, size: size, seed: seed) }
        return TrainingData(classNames: domain.classes, size: size, images: images, labels: labels, summary: text)
    }
    let (data, report) = try TrainingData.folder(text, size: size)
    for broken in report.broken { note("skipped: \(broken)") }
    if !report.broken.isEmpty { note("\(report.broken.count) files could not be used, \(data.count) could") }
    return data
}

struct Train: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Train an adapter of a frozen base.",
        discussion: "Example: adapterctl train flowers --data synthetic:flowers -o flowers.safetensors")
    @Argument(help: "The name of the domain.") var name: String
    @Option(help: "synthetic:DOMAIN, or a folder with one sub-folder per class.") var data: String
    @Option(help: "Pictures drawn per class of a synthetic domain.") var perClass = 1000
    @Option(help: "difffit, difffit-a or bitfit.") var method = "difffit"
    @Option(help: "Blocks, from the first, whose gammas are trained (default: half).") var gammaDepth: Int?
    @Option(help: "The base in the store.") var base: String?
    @Option(help: "A base file in place of the store's.") var baseFile: String?
    @Option(name: [.customShort("o"), .customLong("output")], help: "The adapter file to write.") var file: String
    @Flag(help: "Round the result to bfloat16: half the size.") var bf16 = false
    @Flag(help: "Add the result to the store under NAME.") var add = false
    @OptionGroup var settings: TrainingOptions
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func run() throws {
        let name = try AdapterName(name).description
        let base = try baseFile.map { try BaseFile(path: $0) } ?? location.open().baseFile(base)
        guard let method = TrainableSet.Method(rawValue: method), method != .full else {
            throw Failure.usage("--method takes difffit, difffit-a or bitfit, not '\(method)'")
        }
        let depth = base.configuration.depth
        guard (0...depth).contains(gammaDepth ?? 0) else { throw Failure.usage("--gamma-depth is between 0 and \(depth)") }
        let set = gammaDepth.map { TrainableSet(method, gammaDepth: $0) } ?? TrainableSet(method, base.configuration)
        let data = try loadData(data, size: base.configuration.inputSize, perClass: perClass, seed: settings.seed)
        let model = try DiT(base)
        let run = try TrainingRun.adapter(settings.settings(learningRate: 5e-3), set, base: base, model: model, data: data, pool: ComputePool())
        try settings.follow(run, checkpoint: file + ".checkpoint")
        var adapter = run.adapter(name: name, base: base, created: nil)
        if bf16 { adapter = adapter.roundedToBFloat16(base.layout) }
        adapter.manifest.golden = try PackedDiT(model).goldenValues(adapter.vector, adapter.classes, layout: base.layout)
        try AdapterFile.write(adapter, layout: base.layout, to: file, as: bf16 ? .bf16 : .f32)
        if add { _ = try location.open().add(adapter.stored(), as: name, over: base.values(), replace: true, precision: adapter.storedPrecision(over: base.vector)) }
        try output.report("train", ["file": file, "digest": adapter.digest.description]) {
            "\(name) \(adapter.digest.short) written to \(file), loss \(run.recentLoss)"
        }
    }
}
