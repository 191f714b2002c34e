import AdapterFormat
import AdapterStore
import AdapterTraining
import ArgumentParser
import Autoencoder
import Foundation
import Programs
import SamplingEngine
import TensorFiles
import TensorMath

/// Training pictures of a base that learns latents.
struct LatentOptions: ParsableArguments {
    @Option(help: "The autoencoder (VAE) of a base that learns latents, where the store has none or another is wanted.") var vae: String?
    @Option(help: "Where encoded images are kept (else difffit/latents in the user's cache folder).") var latentCache: String?

    /// Training images as the base learns them: pixels, or posteriors of its autoencoder, encoded once and kept.
    /// - Parameters:
    ///   - size: side of what the network sees.
    ///   - store: where the base came from; nil for a base file.
    ///   - mirrored: whether the run flips images.
    ///   - allowsEmpty: whether a class of a folder may have no usable picture.
    func loadData(
        _ text: String, _ selection: DataSelection, for base: BaseFile, size: Int, in store: AdapterStore?, mirrored: Bool, allowsEmpty: Bool = true,
        pool: ThreadPool
    ) throws -> TrainingData {
        let c = base.configuration
        let autoencoders = try vae.map { try BaseAutoencoders([TensorFile(path: $0)]) } ?? store?.autoencoders(nil, for: base.digest)
        guard let autoencoder = autoencoders?.main else {
            guard c.inChannels == 3 else {
                throw Failure.usage("this base learns latents of \(c.inChannels, "channel"), not pictures: give its autoencoder with --vae")
            }
            return try adapterctl.loadData(text, selection, size: size, drawn: 1000, allowsEmpty: allowsEmpty, pool: pool)
        }
        try autoencoders?.check(decodes: base)
        let data = try adapterctl.loadData(
            text, selection, size: size * autoencoder.format.downsampling, drawn: 1000, allowsEmpty: allowsEmpty, pool: pool)
        var encoded = 0
        let latents = try LatentCache.encoded(data, by: autoencoder, folder: folder, mirrored: mirrored, pool: pool) { done, count in
            encoded = count
            if count > 0, count.isMultiple(of: 100) { note("encoded \(count, "image"), \(done) of \(data.count) are ready") }
        }
        note("\(data.count, "image") as latents, \(encoded) of them encoded now, kept in \(folder)")
        return latents
    }

    private var folder: String { latentCache ?? UserFolders.cache() + "/latents" }
}
