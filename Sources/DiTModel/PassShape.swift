import AdapterFormat

/// How the R = images x T rows of a pass are cut into matrix products.
///
/// For sampling a tile is one image or an even part of one and always the same, so an image's bytes do not depend on its
/// batch or on how many threads share it (law 5). For training one tile holds all rows.
package struct PassShape: Sendable {
    package let images: Int
    package let tokens: Int
    package let heads: Int
    let tileRows: Int
    let mlpNormEpsilon: Float

    init(_ configuration: DiTConfiguration, images: Int, preset: Preset, wholeRows: Bool) {
        self.images = images
        tokens = configuration.tokens
        heads = configuration.numHeads
        mlpNormEpsilon = preset.mlpNormEpsilon
        tileRows = wholeRows ? images * configuration.tokens : PassShape.tile(tokens: configuration.tokens)
    }

    /// The largest even part of an image of at most 128 tokens: large enough for full speed, small enough to share.
    private static func tile(tokens: Int) -> Int {
        var tile = tokens
        while tile > 128 && tile.isMultiple(of: 2) { tile /= 2 }
        return tile
    }

    var tiles: Int { images * tokens / tileRows }

    func rows(ofTile tile: Int) -> Range<Int> { (tile * tileRows)..<((tile + 1) * tileRows) }

    /// The images that a range of rows touches, each with its part of the range.
    func forEachImage(in rows: Range<Int>, _ body: (_ image: Int, _ part: Range<Int>) -> Void) {
        for image in (rows.lowerBound / tokens)...((rows.upperBound - 1) / tokens) {
            body(image, rows.clamped(to: (image * tokens)..<((image + 1) * tokens)))
        }
    }
}
