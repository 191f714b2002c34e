import AdapterFormat
import AdapterStore
import ArgumentParser
import DiTModel
import Foundation
import TensorFiles
import TensorMath

struct BaseShow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show one base.", discussion: "Example: adapterctl base show --load")
    @Argument(help: "Name or digest, where the store has several.") var reference: String?
    @Flag(help: "Also load the network, make one call, and report the time and the memory.") var load = false
    @OptionGroup var precision: PrecisionOption
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Details: Encodable {
        let digest: String
        let configuration: DiTConfiguration
        let card: BaseCard
        let tunableValues: Int
        let file: String
        let fileBytes: Int
        /// Bytes of the matrices by the type that they are stored in.
        let matrixBytes: [String: Int]
        /// Whether its class table has a row that stands for no class, which guidance by it leans on.
        let hasNullRow: Bool
        /// What makes pictures of its latents, the default first.
        let decoders: [DecoderKind]
        let loaded: LoadReport?
    }

    func run() throws {
        let store = try location.open()
        let precision = try precision.chosen()
        let start = ContinuousClock.now
        let base = try store.baseFile(reference)
        let loaded = try load ? LoadReport(base, precision, since: start) : nil
        let c = base.configuration
        var matrices: [String: Int] = [:]
        for tensor in c.frozenTensors {
            let entry = try base.file.entry(tensor.name)
            matrices[entry.dtype.rawValue, default: 0] += entry.storedBytes
        }
        let details = Details(
            digest: base.digest.description, configuration: c, card: base.card, tunableValues: base.layout.count, file: base.file.path,
            fileBytes: try store.base(base.digest).size, matrixBytes: matrices, hasNullRow: c.hasNullRow,
            decoders: base.card.decoders, loaded: loaded)
        try output.report("base show", details) { table(rows(details, base)) }
    }

    private func rows(_ details: Details, _ base: BaseFile) -> [[String]] {
        let c = base.configuration
        var rows = [
            ["name", base.card.name], ["digest", "\(base.digest)"],
            ["network", "\(c.depth, "block") of width \(c.hiddenSize), \(c.numHeads, "head"), patch \(c.patchSize)"],
            ["input", "\(c.inputSize)x\(c.inputSize), \(c.inChannels, "channel"), \(c.numClasses, "class")\(c.hasNullRow ? "" : ", no null class")"],
            ["predicts", "\(base.card.prediction) on the \(base.card.path) path\(c.learnSigma ? ", and the variance" : "")"],
            ["tunable", "\(base.layout.count, "value")"],
            ["matrices", details.matrixBytes.sorted { $0.key < $1.key }.map { "\(readable(bytes: $0.value)) \($0.key)" }.joined(separator: ", ")],
        ]
        if Preset(base.card) != .original { rows.append(["preset", Preset(base.card).rawValue]) }
        if let scale = base.card.latentScale { rows.append(["latents", "scaled by \(scale)"]) }
        if let vae = base.card.vae { rows.append(["autoencoder", "\(vae)"]) }
        if let tiny = base.card.tinyVAE { rows.append(["tiny autoencoder", "\(tiny)"]) }
        if let usual = DecoderKind.usual(among: details.decoders), let preview = DecoderKind.usual(among: details.decoders, forPreview: true) {
            rows.append(["decoders", usual == preview ? usual.rawValue : "\(usual.rawValue), \(preview.rawValue) (previews)"])
        }
        if let original = base.card.roundedFrom { rows.append(["rounded", "from \(original)"]) }
        if let sparsity = base.card.sparsity {
            let how = [sparsity.saliency.map { "by \($0)" }, sparsity.dense.map { "of the base \($0)" }].compactMap { $0 }
            rows.append(["sparse", ([sparsity.pattern] + how).joined(separator: " ")])
        }
        if let loaded = details.loaded { rows += loaded.rows }
        return rows
    }
}

/// What loading a base takes, measured in this process.
struct LoadReport: Encodable {
    let precision: Precision
    /// Until the network could be called.
    let seconds: Double
    /// Growth of this process's own memory until then.
    let ownBytes: Int
    /// Growth of memory that is the file's, shared with every process that uses the base, after one network call.
    let sharedBytes: Int
    /// Of its own memory, what the packed copies of the blocks' matrices take, zeros of a sparse base left out.
    let packedBytes: Int

    init(_ base: BaseFile, _ precision: Precision, since start: ContinuousClock.Instant) throws {
        self.precision = precision
        let before = Self.resident()
        let model = try InferenceDiT(base, precision: precision)
        seconds = (ContinuousClock.now - start) / .seconds(1)
        ownBytes = max(0, Self.resident().own - before.own)
        packedBytes = model.packedBytes
        _ = model.goldenValues(base.vector, base.classes, layout: base.layout)
        sharedBytes = max(0, Self.resident().shared - before.shared)
    }

    /// Bytes in memory as Linux counts them.
    private static func resident() -> (own: Int, shared: Int) {
        let lines = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8))?.split(separator: "\n") ?? []
        let bytes = { (key: String) in
            let line = lines.first { $0.hasPrefix(key + ":") }
            return (line?.split(whereSeparator: \.isWhitespace).dropFirst().first).flatMap { Int($0) }.map { $0 * 1024 } ?? 0
        }
        return (bytes("RssAnon"), bytes("RssFile"))
    }

    var rows: [[String]] {
        [
            ["loaded in", String(format: "%.3f s at %@", seconds, precision.rawValue)],
            ["memory", "\(readable(bytes: ownBytes)) of its own, \(readable(bytes: sharedBytes)) of the file, shared with other processes"],
            ["packed", readable(bytes: packedBytes)],
        ]
    }
}
