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

    /// Writes a base in the store's own form, with the autoencoders that belong to it. What is known of the same base stays.
    ///
    /// - Parameters:
    ///   - autoencoders: at most one of each kind.
    ///   - name: of the base in the store; nil keeps the name that it has there, else takes the nearest to its own.
    ///   - type: `.f32` or `.bf16` for the matrices, which may make another base; nil leaves them as they are.
    ///   - preset: whose function of the weights is meant, in place of what the base's card says.
    ///   - latentScale: what latents are multiplied by, in place of what the autoencoder says.
    /// - Returns: the digest of what is stored, and its card.
    /// - Throws: `StoreError`; a value that is not finite is `AdapterFormatError.notFinite`; an autoencoder of other latents
    ///   `SamplingEngineError.otherAutoencoder`, a tiny one of other pictures `otherPictures`.
    package func importBase(
        _ base: BaseFile, autoencoders: [AutoencoderFile] = [], as name: String? = nil, type: DType? = nil, preset: String? = nil,
        latentScale: Double? = nil
    ) throws -> (digest: Digest, card: BaseCard) {
        try base.checkMatrices()
        for autoencoder in autoencoders { try autoencoder.checkValues() }
        var decoders = try BaseAutoencoders(autoencoders.map(\.file))
        try decoders.check(decodes: base)
        let encoding = try base.encoding(as: type)
        let digest = type == nil ? base.digest : Digest(of: encoding.pieces)
        let content = { (kind: DecoderKind) in
            autoencoders.last { $0.kind == kind }.map { FileContent($0.encoding.pieces, digest: Digest(of: $0.encoding.pieces)) }
        }
        let vae = content(.full), tinyVAE = content(.tiny)
        let scale = { (kind: DecoderKind) in autoencoders.last { $0.kind == kind }?.latentScale }
        var card = base.card
        // A file's own name is a name's beginning only.
        card.name = name ?? AdapterName.fitting(card.name)?.description ?? "base-\(digest.short)"
        card.preset = preset ?? card.preset
        if digest != base.digest { card.roundedFrom = base.digest }
        (card.vae, card.tinyVAE) = (vae?.digest, tinyVAE?.digest)
        card.latentScale = latentScale ?? scale(.full) ?? card.latentScale
        // From the list, which a damaged file does not keep from being read.
        if let entry = try listBases().first(where: { $0.digest == digest }), let known = entry.decodedCard {
            card.complete(from: known)
            card.name = name ?? known.name
            // One that was there before is compared too, unless it is what has to be mended.
            if decoders.full == nil { decoders.full = entry.vae.flatMap { try? AutoencoderKL(path: $0.path) } }
            if decoders.tiny == nil { decoders.tiny = entry.tinyVAE.flatMap { try? AutoencoderTiny(path: $0.path) } }
            try decoders.check(decodes: base)
        }
        card.latentScale = card.latentScale ?? scale(.tiny) ?? (base.configuration.inChannels == 4 ? BaseCard.latentScale : nil)
        try importBase(FileContent(encoding.pieces, digest: digest), vae: vae, tinyVAE: tinyVAE, card: Data(try sortedJSON(card).utf8))
        return (digest, card)
    }
}
