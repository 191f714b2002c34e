import AdapterFormat

/// The rows of a training pass, R = images x T, all in one matrix product.
package struct PassShape: Sendable {
    package let images: Int
    package let tokens: Int
    package let heads: Int
    let mlpNormEpsilon: Float

    init(_ configuration: DiTConfiguration, images: Int, preset: Preset) {
        self.images = images
        tokens = configuration.tokens
        heads = configuration.numHeads
        mlpNormEpsilon = preset.mlpNormEpsilon
    }

    func rows(ofImage image: Int) -> Range<Int> { (image * tokens)..<((image + 1) * tokens) }
}
