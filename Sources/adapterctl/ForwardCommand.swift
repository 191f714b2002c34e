import AdapterFormat
import AdapterStore
import ArgumentParser
import DiTModel
import Foundation
import TensorFiles
import TensorMath

/// What of a base's shape its file may leave open.
struct ShapeOptions: ParsableArguments {
    @Option(help: "Attention heads, where neither the file nor a published size says.") var heads: Int?
    @Option(help: "Side of the input in latent pixels or pixels, where the file has no table of positions and does not say.") var inputSize: Int?

    func validate() throws {
        guard (heads ?? 1) > 0, (inputSize ?? 1) > 0 else { throw ValidationError("--heads and --input-size are above 0") }
    }
}

/// Tensors in, tensors out: the way to check the network against any other implementation.
struct Forward: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "One network call on given tensors.",
        discussion: "Example: adapterctl forward --base-file dit.safetensors --input in.safetensors --output out.safetensors --blocks")
    @Option(help: "A base in the store.") var base: String?
    @Option(help: "A base file.") var baseFile: String?
    @Option(help: "An adapter in the store.") var adapter: String?
    @Option(help: "An adapter file, or a LoRA adapter's folder.") var adapterFile: String?
    @OptionGroup var reading: ReadingOptions
    @OptionGroup var baseShape: ShapeOptions
    @Option(help: "Tensors x (n, C, S, S), t (n), y (n).") var input: String
    @Option(name: [.customShort("o"), .customLong("output")], help: "The file to write: out, and with --blocks tokens and block.N.") var file: String
    @Option(help: "original or diffusers, in place of what the base's card says.") var preset: String?
    @Flag(help: "Write every block's output too.") var blocks = false
    @OptionGroup var precision: PrecisionOption
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func run() throws {
        try checkOutputs([PlannedOutput(file, .safetensors)], json: output.json)
        let named = try preset.map(presetNamed)
        let base =
            try baseFile.map {
                try adapterctl.baseFile(at: $0, heads: baseShape.heads, inputSize: baseShape.inputSize, classes: adapterFile == nil ? reading.classes : nil)
            } ?? location.open().baseFile(base)
        var (vector, classes) = (base.vector, base.classes)
        var grid: ImageGrid?
        if let adapterFile {
            let remarks = Remarks(), adapter = try AdapterFile.read(path: adapterFile, base: base, as: reading.reading(to: remarks))
            for remark in remarks.all { note("warning: \(remark)") }
            (vector, classes, grid) = (adapter.vector, adapter.classes, adapter.manifest.imageGrid)
        } else if let adapter {
            let store = try location.open()
            let stored = try Adapter(store.load(store.lookup(adapter).digest, over: base.values()))
            (vector, classes, grid) = (stored.vector, stored.classes, stored.manifest.imageGrid)
        }
        let preset = named ?? Preset(base.card)
        let model = try InferenceDiT(base, precision: precision.chosen(), preset: preset).fitting(grid), c = model.configuration
        let tensors = try TensorFile(path: input)
        let x = try tensors.floats("x"), shape = try tensors.entry("x").shape
        let n = shape.first ?? 0
        guard shape == [n, c.inChannels, c.inputSize, c.inputSize], (1...4096).contains(n) else {
            throw Failure.usage("'x' has shape \(shape); this network takes [n, \(c.inChannels), \(c.inputSize), \(c.inputSize)]")
        }
        let times = try tensors.entry("t").dtype.isFloatingPoint ? tensors.floats("t") : tensors.integers("t").map(Float.init)
        let labels = try tensors.integers("y")
        guard times.count == n, labels.count == n else { throw Failure.usage("'t' and 'y' need \(n, "value") each, as 'x' has images") }
        let last = classes.hasNullRow ? classes.nullClass : classes.names.count - 1
        guard labels.allSatisfy({ (0...max(last, 0)).contains($0) }) else {
            throw Failure.usage("'y' lies between 0 and \(last)\(classes.hasNullRow ? ", the null class" : "; there is no null class")")
        }
        try write(base, model, vector, classes, x: x, times: times, labels: labels)
        try output.report("forward", ["file": file], outputs: [file]) { "\(n, "image") through \(base.digest.short), written to \(file)" }
    }

    private func write(
        _ base: BaseFile, _ model: InferenceDiT, _ vector: TunableVector, _ classes: ClassTable, x values: [Float], times: [Float], labels: [Int]
    ) throws {
        let c = model.configuration, n = labels.count
        let adapterSlots = AdapterSlots(base.layout, count: 1, classRows: classes.rows)
        adapterSlots.install(vector, classes, slot: 0)
        let outCount = c.outChannels * c.inputSize * c.inputSize
        let memory = Memory(capacity: Memory.paddedCount(values.count) + Memory.paddedCount(n * outCount))
        let x = memory.take(n, values.count / n), out = memory.take(n, outCount)
        x.copy(from: values)
        var stages: [[Float]] = []
        model.forward(x: x, times: times, classes: labels, tunables: adapterSlots.tunables[0], into: out, onStage: blocks ? { stages.append($0) } : nil)
        var tensors = [OutgoingTensor("out", shape: [n, c.outChannels, c.inputSize, c.inputSize], out.array)]
        for (index, stage) in stages.enumerated() {
            tensors.append(OutgoingTensor(index == 0 ? "tokens" : "block.\(index - 1)", shape: [n, c.tokens, c.hiddenSize], stage))
        }
        try SafetensorsWriter.write(tensors, to: file)
    }
}
