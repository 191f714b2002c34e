import AdapterComposer
import AdapterFormat
import AdapterStore
import AdapterTraining
import ArgumentParser
import DiTModel
import DiTPipeline
import Diffusion
import Foundation
import SamplingEngine
import TensorMath

struct BaseSparsify: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sparsify", abstract: "Make a sparse base of a dense one: half of the blocks' weights, and not much more than half of the memory.",
        discussion: """
            Example: adapterctl base sparsify imagenet --pattern 2:4 --name imagenet-24 --add
            Example: adapterctl base sparsify imagenet --pattern 2:4 --saliency magnitude -o imagenet-24.safetensors

            Of every four neighbouring weights along the inputs of each block's qkv, proj, fc1 and fc2 two are kept. It is another base. What it
            lost can be recovered: by training (adapterctl base train --from FILE --pattern 2:4), or by an adapter (adapterctl distill recovery),
            through which adapters of the dense base come over (adapterctl recover).
            """)
    @Argument(help: "The base: a name or digest in the store (default: the only one there), or a file.") var reference: String?
    @Option(help: "How many of how many neighbouring weights are kept; 2:4 is the one that can be stored.") var pattern: String
    @Option(help: "What weights are chosen by: second-order (what the layer's output loses, measured on the base's own samples) or magnitude.")
    var saliency = BaseSparsification.Saliency.secondOrder.rawValue
    @Option(help: "Images that are sampled to measure on.") var images = 64
    @Option(help: "Steps of that sampling.") var steps = 10
    @Option(help: "Domains in the store to sample with beside the base itself, separated by commas.") var domains: String?
    @Option(help: "Of the images' noise: the same seed gives the same base.", transform: seedNumber) var seed: UInt64 = 1
    @Option(help: "f32 or bf16: how the kept weights are stored (default: as they are).") var precision: String?
    @Option(help: "The name of the sparse base (default: the dense one's and -24).") var name: String?
    @Option(name: [.customShort("o"), .customLong("output")], help: "The file to write.") var file: String?
    @Flag(help: "Add it to the store under its name.") var add = false
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let name, digest, dense, pattern, saliency: String
        let file: String?
        /// The squared error of each layer's output, as a share of its square; empty where nothing was measured.
        let layerErrors: [String: Double]
        /// Their mean.
        let meanLayerError: Double?
    }

    func validate() throws {
        guard BaseSparsification.Saliency(rawValue: saliency) != nil else {
            throw ValidationError("--saliency is \(BaseSparsification.Saliency.allCases.map(\.rawValue).joined(separator: " or ")), not '\(saliency)'")
        }
        guard file != nil || add else { throw ValidationError("give -o FILE to write the sparse base, or --add to take it into the store, or both") }
        guard (1...100_000).contains(images), (1...1000).contains(steps) else { throw ValidationError("--images is from 1 to 100000, --steps to 1000") }
    }

    func run() throws {
        try checkPattern(pattern)
        try checkOutputs([file.flatMap { PlannedOutput($0, .safetensors, mayStream: false) }], json: output.json)
        let type = try precision.map { try dtypeNamed($0, "--precision") }, saliency = BaseSparsification.Saliency(rawValue: saliency) ?? .secondOrder
        let isFile = reference.map { $0.contains("/") || $0.hasSuffix(".safetensors") } ?? false
        let store = isFile && !add && domains == nil ? nil : try location.open()
        let base = try isFile ? baseFile(at: reference ?? "") : location.open().baseFile(reference)
        try base.checkMayBecomeSparse()
        let name = try AdapterName(name ?? "\(AdapterName.fitting(base.card.name)?.description.prefix(61) ?? "base")-24").description
        let pool = ThreadPool()
        let calibration = saliency == .magnitude ? nil : try calibrate(base, store, pool)
        Progress.begin("choosing weights")
        let sparse = try BaseSparsification(base, saliency, calibration, pool: pool) { Progress.step(Int(100 * $0), of: 100) }
        let written = file ?? FileManager.default.temporaryDirectory.appending(path: "\(name)-\(UUID().uuidString).safetensors").path(percentEncoded: false)
        defer { if file == nil { try? FileManager.default.removeItem(atPath: written) } }
        try sparse.write(named: name, as: type, to: written)
        let made = try BaseFile(path: written)
        var warnings: [String] = []
        if add, let store {
            let dense = try? store.base(base.digest)
            let autoencoders = try [dense?.vae, dense?.tinyVAE].compactMap { $0 }.map { try AutoencoderFile(path: $0.path) }
            _ = try store.importBase(made, autoencoders: autoencoders, as: name)
            warnings = try store.twins(ofBase: name)
        }
        let errors = sparse.errors, mean = errors.isEmpty ? nil : errors.values.sorted().reduce(0, +) / Double(errors.count)
        let result = Result(
            name: name, digest: made.digest.description, dense: base.digest.description, pattern: pattern, saliency: saliency.rawValue, file: file,
            layerErrors: errors, meanLayerError: mean)
        try output.report("base sparsify", result, warnings: warnings, outputs: [file].compactMap { $0 }) {
            "the sparse base \(name) is \(made.digest.short), \(pattern) of \(base.digest.short) by \(saliency.rawValue)"
                + (mean.map { String(format: ", %.1f %% of its layers' output lost", 100 * $0) } ?? "") + (file.map { ", written to \($0)" } ?? "")
        }
    }

    private func calibrate(_ base: BaseFile, _ store: AdapterStore?, _ pool: ThreadPool) throws -> LayerCalibration {
        var subjects = [LayerCalibration.Subject(base.vector, base.classes)]
        for name in (domains ?? "").split(separator: ",").map({ $0.trimmingCharacters(in: .whitespaces) }) {
            guard let adapter = try store?.adapter(name, of: base).adapter else { continue }
            guard adapter.manifest.isDomain, adapter.manifest.lowRank == nil, adapter.manifest.imageGrid == nil else {
                throw Failure.usage("--domains takes domains of biases and scales at the base's resolution; '\(name)' is none")
            }
            subjects.append(LayerCalibration.Subject(adapter.vector, adapter.classes))
        }
        let convention = try DiffusionConvention(base)
        let plan = try SamplingPlan(
            UsualSampling.sampler(convention.path), steps: steps, convention, clips: base.configuration.inChannels == 3)
        var settings = LayerCalibration.Settings()
        (settings.images, settings.seed) = (images, seed)
        Progress.begin("sampling to measure on")
        return try LayerCalibration(DiT(base), layout: base.layout, subjects, plan: plan, settings, pool: pool) { Progress.step(Int(100 * $0), of: 100) }
    }
}

/// Refuses a pattern that is none, or that has no form here.
func checkPattern(_ text: String) throws {
    let numbers = text.split(separator: ":", omittingEmptySubsequences: false).map { Int($0) }
    guard numbers.count == 2, let kept = numbers[0], let all = numbers[1], kept > 0, kept < all else {
        throw Failure.usage("--pattern is N:M, the weights that are kept of every M neighbouring ones, as in 2:4, not '\(text)'")
    }
    guard kept == 2, all == 4 else { throw Failure.usage("--pattern takes 2:4, the one pattern that files have a form for, not '\(text)'") }
}
