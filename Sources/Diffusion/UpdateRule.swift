/// What happens to one image after one network call. Every sampler of this module is such a list: each update is linear in
/// the latent x, a saved latent, and the predictions m of the data from this call and the two before.
package struct UpdateRule: Sendable {
    /// t of the call, in the path's own unit.
    package var time: Double
    /// m = xToData x + outputToData output.
    var xToData: Double
    var outputToData: Double
    /// Where present, x is first replaced by this combination (UniPC's corrector).
    var correction: Combination?
    /// Whether x, corrected, is kept for later calls.
    var savesLatent = false
    /// The next x.
    var prediction: Combination
    var noise = Noise.none
    var clips = false

    struct Combination: Sendable {
        var x = 0.0
        var saved = 0.0
        var m = 0.0
        /// The prediction one call ago, and two.
        var m1 = 0.0
        var m2 = 0.0
    }

    enum Noise: Sendable {
        case none
        case fixed(Double)
        /// Standard deviation exp((f maxLog + (1 - f) minLog) / 2) with f = (v + 1) / 2, v from the output's second half.
        case learned(minLog: Double, maxLog: Double)
    }

    /// Whether `SamplerState.advance` will draw noise.
    package var drawsNoise: Bool {
        if case .none = noise { false } else { true }
    }
}
