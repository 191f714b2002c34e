import AdapterFormat
import AdapterTraining
import AdapterStore
import ArgumentParser
import DiTModel
import SamplingEngine
import SystemIO
import TensorFiles

struct BaseImport: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Take a base into the store, from any form that DiTs are published in.",
        discussion: """
            Example: adapterctl base import DiT-XL-2-256x256.pt --vae sd-vae-ft-ema/
            Example: adapterctl base import DiT-XL-2-256/ --precision bf16 --tiny-vae taesd/
            """)
    @Argument(help: "A .pt or .bin of torch, safetensors (or the .index.json of shards), a diffusers folder, or one with a model's weights.") var path: String
    @OptionGroup var shape: ShapeOptions
    @Option(help: "Real classes, where the file does not say whether its table has a row for no class.") var classes: Int?
    @Option(help: "The name of the base in the store (default: the file's own, or its file name).") var name: String?
    @Option(help: "f32 or bf16: how the matrices are stored (default: as they are); bf16 halves them and is another base.") var precision: String?
    @Option(help: "The autoencoder: a folder or file (default: that of the diffusers folder).") var vae: String?
    @Option(help: "A tiny autoencoder beside it (AutoencoderTiny, TAESD): the decoder of previews, and of pictures with --decoder tiny.") var tinyVae: String?
    @Option(help: "What latents are multiplied by, where the autoencoder comes without its config.json (default: Stable Diffusion's 0.18215).") var latentScale:
        Double?
    @Option(help: "original or diffusers: whose function of the weights is meant.") var preset: String?
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    struct Result: Encodable {
        let digest: String
        let name: String
        /// The key of a torch file's dictionary that was taken.
        let section: String?
        let autoencoder, tinyAutoencoder: String?
        let roundedFrom: String?
    }

    func run() throws {
        let type = try precision.map { try dtypeNamed($0, "--precision") }
        let preset = try preset.map(presetNamed)
        let name = try name.map { try AdapterName($0).description }
        let store = try location.open()
        Progress.begin("importing")
        let base = try BaseFile(path: path, heads: shape.heads, inputSize: shape.inputSize, classes: classes)
        guard base.card.prediction != ClassifierSource.prediction else {
            throw Failure.usage("'\(path)' tells pictures apart and makes none: give it to eval as --judge")
        }
        let autoencoder = try vae.map { try AutoencoderFile(path: $0, latentScale: latentScale) } ?? base.autoencoders.first
        let tiny = try tinyVae.map { try AutoencoderFile(path: $0) }
        if let tinyVae, tiny?.kind == .full { throw Failure.usage("'\(tinyVae)' holds an AutoencoderKL, not an AutoencoderTiny: give it with --vae") }
        if let vae, tiny != nil, autoencoder?.kind == .tiny { throw Failure.usage("'\(vae)' holds an AutoencoderTiny too: give one with --tiny-vae") }
        if let autoencoder {
            if !autoencoder.statesScale, autoencoder.kind == .full {
                note(
                    "'\(autoencoder.file.path)' has no config.json beside it: latents are scaled by \(BaseCard.latentScale), Stable Diffusion's; another factor is given as --latent-scale"
                )
            }
            if autoencoder.statesScale, let latentScale, latentScale != autoencoder.latentScale {
                throw Failure.usage("the autoencoder's own configuration says \(autoencoder.latentScale), not --latent-scale \(latentScale)")
            }
        }
        guard (latentScale ?? 1).isFinite, (latentScale ?? 1) > 0 else { throw Failure.usage("--latent-scale is a number above 0") }
        let digest: Digest, card: BaseCard
        do {
            (digest, card) = try store.importBase(
                base, autoencoders: base.autoencoders + [vae == nil ? nil : autoencoder, tiny].compactMap { $0 }, as: name, type: type,
                preset: preset?.rawValue, latentScale: latentScale)
        } catch SamplingEngineError.otherAutoencoder(let file, let channels, let wanted) {
            throw Failure.usage("the autoencoder '\(file)' has latents of \(channels, "channel"), the base \(wanted)")
        }

        let result = Result(
            digest: digest.description, name: card.name, section: base.file.section, autoencoder: card.vae?.description,
            tinyAutoencoder: card.tinyVAE?.description, roundedFrom: card.roundedFrom?.description)
        try output.report("base import", result, warnings: base.remarks + store.twins(ofBase: card.name)) {
            let c = base.configuration
            let from = base.file.section.map { ", from '\($0)'" } ?? ""
            let decoders = [card.vae.map { "the autoencoder \($0.short)" }, card.tinyVAE.map { "the tiny autoencoder \($0.short)" }].compactMap { $0 }
            let with = decoders.isEmpty ? "" : ", with \(decoders.joined(separator: " and "))"
            let classes = c.hasNullRow ? "" : ", \(c.numClasses, "class") without a null class"
            return "base \(card.name) is \(digest.short): \(c.depth, "block") of width \(c.hiddenSize)\(classes)\(from)\(with)"
        }
    }
}

/// The element type that a user names for what may be kept or computed in either of two.
func dtypeNamed(_ text: String, _ option: String) throws -> DType {
    guard let type = ["f32": DType.f32, "bf16": .bf16][text] else { throw Failure.usage("\(option) takes f32 or bf16, not '\(text)'") }
    return type
}

/// The preset of a name on the command line.
func presetNamed(_ text: String) throws -> Preset {
    guard let preset = Preset(rawValue: text) else { throw Failure.usage("--preset takes original or diffusers, not '\(text)'") }
    return preset
}

struct BaseExport: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Write a base as the reference's code or diffusers reads it.",
        discussion: "Example: adapterctl base export --format diffusers -o DiT-XL-2-256/")
    @Argument(help: "Name or digest, where the store has several.") var reference: String?
    @Option(
        help: "original (one safetensors file), diffusers (a folder), or of a sparse base sparse-24-bitmask (one file without its zeros); the others have them."
    )
    var format = "original"
    @Option(name: [.customShort("o"), .customLong("output")], help: "The file or the new folder to write.") var path: String
    @OptionGroup var location: StoreLocation
    @OptionGroup var output: OutputOptions

    func run() throws {
        try checkOutputs([PlannedOutput(path, format == "diffusers" ? .folder : .safetensors)], json: output.json)
        let store = try location.open()
        let base = try store.baseFile(reference)
        Progress.begin("writing")
        switch format {
        case "original": try SafetensorsWriter.write(base.exported(), to: path)
        case "sparse-24-bitmask":
            guard base.isSparse else { throw Failure.usage("the base '\(base.card.name)' is not sparse: --format takes original or diffusers") }
            try SafetensorsWriter.write(base.exported(compressed: true), to: path)
        case "diffusers":
            let entry = try store.base(base.digest)
            try DiffusersFolder.write(base, autoencoders: [entry.vae, entry.tinyVAE].compactMap { $0 }.map { try AutoencoderFile(path: $0.path) }, to: path)
        default: throw Failure.usage("--format takes original, diffusers or sparse-24-bitmask, not '\(format)'")
        }
        try output.report("base export", ["path": path, "digest": base.digest.description], outputs: [path]) {
            "wrote \(base.card.name) \(base.digest.short) to \(path)"
        }
    }
}
