import AdapterFormat
import AdapterStore
import ArgumentParser
import DiTModel
import LatentCodec
import SamplingEngine
import TensorMath

/// How a base that makes latents gets its pictures.
struct CodecOptions: ParsableArguments {
    @Option(help: "The autoencoder (VAE) of a base that makes latents, where the store has none or another is wanted.") var vae: String?
    @Option(help: "original or diffusers: whose function of the same weights, guided channels and rounding.") var preset = "original"

    /// An engine over a base with its autoencoder.
    func engine(_ base: BaseFile, _ store: AdapterStore, options: EngineOptions = .unbounded) throws -> SamplingEngine {
        guard let preset = Preset(rawValue: preset) else {
            throw Failure.usage("--preset takes original or diffusers, not '\(preset)'")
        }
        return try SamplingEngine(base, options: options, pool: ComputePool(), preset: preset, codec: store.codec(vae, for: base.digest))
    }
}
