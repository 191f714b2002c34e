import AdapterFormat

/// Which public implementation's function of the weights is computed (`DiT.md`, "Two implementations").
package enum Preset: String, Sendable, Codable, CaseIterable {
    /// facebookresearch/DiT, the function the weights were trained as.
    case original
    /// huggingface/diffusers: other timestep frequencies, another epsilon before the MLP, one more guided channel.
    case diffusers

    /// What a base's card says; the original where it says nothing.
    package init(_ card: BaseCard) { self = card.preset.flatMap(Preset.init(rawValue:)) ?? .original }

    /// Divisor i / d in the timestep frequencies.
    package var frequencyDivisor: Float { self == .original ? 128 : 127 }
    package var mlpNormEpsilon: Float { self == .original ? 1e-6 : 1e-5 }

    /// Latent channels that guidance acts on, of `channels`: the original leaves the fourth alone.
    package func guidedChannels(of channels: Int) -> Int { self == .original ? min(3, channels) : channels }
}
