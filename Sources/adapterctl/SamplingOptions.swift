import AdapterFormat
import AdapterStore
import ArgumentParser
import Autoencoder
import Diffusion
import DiTModel
import SamplingEngine
import TensorMath

/// How images are sampled.
struct SamplingOptions: ParsableArguments {
    @Option(help: "ddpm, ddim, dpm++2m, unipc (VP path); euler, heun, multistep (rectified flow); fitted, where adapterctl fit made it.") var sampler: String?
    @Option var steps: Int?
    @OptionGroup var guidance: GuidanceOptions
    @Option(help: "exact; or balanced or fast, where the adapter was calibrated for the sampler and steps.") var cache = "exact"
    @Option(help: "Of the random numbers: the same seed gives the same result.", transform: seedNumber) var seed: UInt64 = 1

    var stepCount: Int { steps ?? UsualSampling.steps }

    func chosen(_ convention: DiffusionConvention) throws -> Sampler {
        guard let chosen = sampler.map(Sampler.init(rawValue:)) ?? UsualSampling.sampler(convention.path) else {
            throw noSampler(sampler ?? "", convention)
        }
        return chosen
    }

    func cacheLevel() throws -> CacheLevel {
        guard let level = CacheLevel(rawValue: cache) else {
            throw Failure.usage("--cache is \(CacheLevel.allCases.map(\.rawValue).joined(separator: ", ")), not '\(cache)'")
        }
        return level
    }

    func imageGuidance() throws -> ImageGuidance { try guidance.imageGuidance() }

    /// What was said of the sampling; the rest is the recipe's to demand, or the usual.
    func asked(_ convention: DiffusionConvention) throws -> AskedSampling {
        var asked = try guidance.asked()
        asked.sampler = sampler == nil ? nil : try chosen(convention)
        asked.steps = steps
        return asked
    }
}

/// Where a sampler's name is none: what there is, and what is near.
func noSampler(_ text: String, _ convention: DiffusionConvention) -> Failure {
    let names = Sampler.of(convention.path).map(\.rawValue)
    return .usage("there is no sampler '\(text)': choose among \(names.joined(separator: ", "))" + suggestion(for: text, among: names))
}

/// A seed on the command line.
func seedNumber(_ text: String) throws -> UInt64 {
    guard let seed = UInt64(text) else { throw ValidationError("it is out of range; a seed is a whole number from 0 to \(UInt64.max)") }
    return seed
}

/// How a base that makes latents gets its pictures.
struct AutoencoderOptions: ParsableArguments {
    @Option(help: "The autoencoder (VAE) of a base that makes latents, where the store has none or another is wanted.") var vae: String?
    @Option(help: "full or tiny: which of the base's autoencoders makes the pictures (default: full, where there is one).") var decoder: String?
    @Option(help: "original or diffusers, in place of what the base's card says: whose function of the weights, guided channels and rounding.")
    var preset: String?

    var isGiven: Bool { vae != nil || preset != nil }

    func decoderKind() throws -> DecoderKind? { try decoder.map(decoderNamed) }

    /// An engine over a base with the autoencoder that makes its pictures.
    func engine(_ base: BaseFile, _ store: AdapterStore, options: EngineOptions = .unbounded) throws -> SamplingEngine {
        try SamplingEngine(
            base, options: options, pool: ThreadPool(), preset: preset.map(presetNamed),
            autoencoders: store.autoencoders(vae, for: base.digest).only(decoderKind()))
    }
}

/// The decoder of a name on the command line.
func decoderNamed(_ text: String) throws -> DecoderKind {
    guard let kind = DecoderKind(rawValue: text) else { throw Failure.usage("--decoder takes full or tiny, not '\(text)'") }
    return kind
}

/// `--precision` on every verb that runs the network.
struct PrecisionOption: ParsableArguments {
    @Option(
        help:
            "auto (bf16 where this processor multiplies it, else f32), f32, bf16, int8, or int8-careful (the MLP's second matrix in bf16) (default: auto where pictures are made, f32 where something is measured)."
    ) var precision: String?

    var isGiven: Bool { precision != nil }

    /// The precision asked for, or f32 with one line on standard error where this machine does not have it.
    /// - Parameter usual: what stands for no word.
    func chosen(usual: PrecisionChoice = .f32) throws -> Precision { try precisionNamed(precision ?? usual.rawValue, among: PrecisionChoice.allCases) }
}

/// The precision of a name on the command line, or f32 with one line on standard error where this machine does not have it. What libraries
/// do worse than this processor could is said too.
func precisionNamed(_ name: String, among choices: [PrecisionChoice]) throws -> Precision {
    guard let choice = PrecisionChoice(rawValue: name), choices.contains(choice) else {
        throw Failure.usage("--precision takes \(choices.map(\.rawValue).joined(separator: ", ")), not '\(name)'")
    }
    if let kernelWarning { note("warning: \(kernelWarning)") }
    let (chosen, notice) = choice.precision.fallback
    if let notice { note(notice) }
    return chosen
}
