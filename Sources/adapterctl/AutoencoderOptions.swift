import AdapterFormat
import AdapterStore
import ArgumentParser
import DiTModel
import Autoencoder
import SamplingEngine
import TensorMath

/// How a base that makes latents gets its pictures.
struct AutoencoderOptions: ParsableArguments {
    @Option(help: "The autoencoder (VAE) of a base that makes latents, where the store has none or another is wanted.") var vae: String?
    @Option(help: "original or diffusers, in place of what the base's card says: whose function of the weights, guided channels and rounding.")
    var preset: String?

    var isGiven: Bool { vae != nil || preset != nil }

    /// An engine over a base with its autoencoder.
    func engine(_ base: BaseFile, _ store: AdapterStore, options: EngineOptions = .unbounded) throws -> SamplingEngine {
        try SamplingEngine(
            base, options: options, pool: ThreadPool(), preset: preset.map(presetNamed), autoencoder: store.autoencoder(vae, for: base.digest))
    }
}
