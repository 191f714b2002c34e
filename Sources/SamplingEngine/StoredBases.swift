import AdapterComposer
import AdapterFormat
import AdapterStore
import Autoencoder
import Foundation
import TensorFiles

extension AdapterStore {
    /// The base that `reference` names (name, digest or its first digits), opened; the only one where there is only one.
    /// - Throws: `StoreError`; what `BaseFile` throws.
    package func baseFile(_ reference: String?) throws -> BaseFile { try baseFile(base(reference).digest) }

    package func baseFile(_ digest: Digest) throws -> BaseFile {
        let entry = try base(digest)
        return try BaseFile(path: entry.path, card: entry.readCard(), digest: digest)
    }

    /// The base that a recipe is for: that of its first adapter, where none is named.
    package func baseFile(of recipe: Recipe, _ reference: String?) throws -> BaseFile {
        guard reference == nil, let first = recipe.references.first else { return try baseFile(reference) }
        return try baseFile(lookup(first).baseDigest)
    }

    /// The base that an adapter names, else one that was rounded from it.
    /// - Throws: `StoreError.baseNotFound`.
    package func base(fitting manifest: AdapterManifest) throws(StoreError) -> Digest {
        let entries = try listBases()
        if entries.contains(where: { $0.digest == manifest.baseDigest }) { return manifest.baseDigest }
        guard let rounded = entries.first(where: { $0.decodedCard?.roundedFrom == manifest.baseDigest }) else {
            throw .baseNotFound(manifest.baseDigest)
        }
        return rounded.digest
    }

    /// Writes a base in the store's own form, with the autoencoder that belongs to it. What is known of the same base stays.
    ///
    /// - Parameters:
    ///   - name: of the base in the store; nil keeps the name that it has there, else takes the nearest to its own.
    ///   - type: `.f32` or `.bf16` for the matrices, which may make another base; nil leaves them as they are.
    ///   - preset: whose function of the weights is meant, in place of what the base's card says.
    ///   - latentScale: what latents are multiplied by, in place of what the autoencoder says.
    /// - Returns: the digest of what is stored, and its card.
    /// - Throws: `StoreError`; a value that is not finite is `AdapterFormatError.notFinite`; an autoencoder of other latents
    ///   `SamplingEngineError.otherAutoencoder`.
    package func importBase(
        _ base: BaseFile, autoencoder: AutoencoderFile? = nil, as name: String? = nil, type: DType? = nil, preset: String? = nil, latentScale: Double? = nil
    ) throws -> (digest: Digest, card: BaseCard) {
        try base.checkMatrices()
        if let autoencoder {
            try autoencoder.checkValues()
            try AutoencoderKL(file: autoencoder.file).check(decodes: base)
        }
        let encoding = try base.encoding(as: type)
        let digest = type == nil ? base.digest : Digest(of: encoding.pieces)
        let vae = autoencoder.map { FileContent($0.encoding.pieces, digest: Digest(of: $0.encoding.pieces)) }
        var card = base.card
        // A file's own name is a name's beginning only.
        card.name = name ?? AdapterName.fitting(card.name)?.description ?? "base-\(digest.short)"
        card.preset = preset ?? card.preset
        if digest != base.digest { card.roundedFrom = base.digest }
        card.vae = vae?.digest
        card.latentScale =
            latentScale ?? autoencoder?.latentScale ?? card.latentScale ?? (base.configuration.inChannels == 4 ? BaseCard.latentScale : nil)
        // From the list, which a damaged file does not keep from being read.
        if let known = try listBases().first(where: { $0.digest == digest })?.decodedCard {
            card.complete(from: known)
            card.name = name ?? known.name
        }
        try importBase(FileContent(encoding.pieces, digest: digest), vae: vae, card: Data(try sortedJSON(card).utf8))
        return (digest, card)
    }
}

extension AutoencoderKL {
    /// Refuses an autoencoder of other latents than a base makes.
    package func check(decodes base: BaseFile) throws(SamplingEngineError) {
        try check(latentChannels: base.configuration.inChannels)
    }

    func check(latentChannels wanted: Int) throws(SamplingEngineError) {
        guard configuration.latentChannels == wanted, configuration.outChannels == 3 else {
            throw .otherAutoencoder(file: file.path, channels: configuration.latentChannels, wanted: wanted)
        }
    }
}

extension AdapterStore {
    /// The autoencoder of a base: the file or diffusers folder that is given, else the one that was imported with the base.
    /// - Returns: nil where there is neither; a pixel-space base needs none.
    package func autoencoder(_ given: String?, for base: Digest) throws -> AutoencoderKL? {
        guard let path = try given ?? self.base(base).vae?.path else { return nil }
        return try AutoencoderKL(path: path)
    }
}
