import AdapterFormat
import AdapterStore
import Autoencoder
import TensorFiles

/// The autoencoders of a base that makes latents: the whole one, a tiny one, both or neither. A base of pixels has none.
package struct BaseAutoencoders: Sendable {
    package var full: AutoencoderKL?
    package var tiny: AutoencoderTiny?

    package init(full: AutoencoderKL? = nil, tiny: AutoencoderTiny? = nil) { (self.full, self.tiny) = (full, tiny) }

    /// What the files hold; the last of a kind counts.
    /// - Throws: `TensorFileError`, `AutoencoderError`.
    package init(_ files: [TensorFile]) throws {
        for file in files {
            switch try imageAutoencoder(file) {
            case let autoencoder as AutoencoderTiny: tiny = autoencoder
            case let autoencoder: full = autoencoder as? AutoencoderKL
            }
        }
    }

    package subscript(_ kind: DecoderKind) -> (any ImageAutoencoder)? {
        switch kind {
        case .full: full
        case .tiny: tiny
        }
    }

    package var kinds: [DecoderKind] { DecoderKind.allCases.filter { self[$0] != nil } }
    /// What encodes training pictures, and decodes where nothing is asked for.
    package var main: (any ImageAutoencoder)? { DecoderKind.usual(among: kinds).flatMap { self[$0] } }

    /// The one that makes pictures alone, so that no memory is taken for others.
    /// - Throws: `noDecoder`.
    package func only(_ kind: DecoderKind?) throws(SamplingEngineError) -> BaseAutoencoders {
        guard let chosen = kind ?? DecoderKind.usual(among: kinds) else { return self }
        guard kinds.contains(chosen) else { throw .noDecoder(chosen, has: kinds) }
        return BaseAutoencoders(full: chosen == .full ? full : nil, tiny: chosen == .tiny ? tiny : nil)
    }

    /// Refuses autoencoders of other latents than a base makes, and two that make pictures of two sizes.
    package func check(decodes base: BaseFile) throws(SamplingEngineError) { try check(latentChannels: base.configuration.inChannels) }

    func check(latentChannels wanted: Int) throws(SamplingEngineError) {
        for kind in kinds {
            guard let one = self[kind] else { continue }
            guard one.format.latentChannels == wanted else {
                throw .otherAutoencoder(file: one.file.path, channels: one.format.latentChannels, wanted: wanted)
            }
        }
        if let full, let tiny, full.format.downsampling != tiny.format.downsampling {
            throw .otherPictures(file: tiny.file.path, pixels: tiny.format.downsampling, wanted: full.format.downsampling)
        }
    }
}

extension AdapterStore {
    /// The autoencoders of a base: those that were imported with it, and in place of them the file or diffusers folder that is given. A
    /// given tiny one stands alone, since it was asked for; a given full one keeps the base's tiny one beside it.
    package func autoencoders(_ given: String?, for base: Digest) throws -> BaseAutoencoders {
        let entry = try self.base(base)
        var found = try given.map { try BaseAutoencoders([TensorFile(path: $0)]) } ?? BaseAutoencoders()
        if given == nil { found.full = try entry.vae.map { try AutoencoderKL(path: $0.path) } }
        if given == nil || found.full != nil { found.tiny = try entry.tinyVAE.map { try AutoencoderTiny(path: $0.path) } }
        return found
    }
}
