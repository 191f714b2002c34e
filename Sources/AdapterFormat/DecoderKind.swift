/// Which of a base's autoencoders turns latents into pictures.
public enum DecoderKind: String, Sendable, Hashable, Codable, CaseIterable {
    /// The AutoencoderKL that the base was trained with.
    case full
    /// A distilled AutoencoderTiny: nearly the same pictures for a small part of the work.
    case tiny

    /// What makes a picture where nothing is asked for: the full one where there is one, but for previews the tiny one.
    /// - Returns: nil of a base whose latents are pictures themselves.
    package static func usual(among kinds: [DecoderKind], forPreview: Bool = false) -> DecoderKind? {
        let wanted: DecoderKind = forPreview ? .tiny : .full
        return kinds.contains(wanted) ? wanted : kinds.first
    }
}
