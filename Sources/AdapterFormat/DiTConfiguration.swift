import Foundation

/// The shape of one DiT, in the reference's own parameter names (`DiT.md`, "Sizes").
package struct DiTConfiguration: Codable, Sendable, Hashable {
    /// Side of the square input, in pixels or latent pixels.
    package var inputSize: Int
    package var patchSize: Int
    package var inChannels: Int
    package var hiddenSize: Int
    package var depth: Int
    package var numHeads: Int
    /// Real classes of the base model; its table has one more row, the null class, last, where `hasNullRow`.
    package var numClasses: Int
    /// True where the network also predicts the variance channels, so `outChannels` is twice `inChannels`.
    package var learnSigma: Bool
    /// Whether the class table has the null row; it has none where labels were never dropped in training. A file shows it by the
    /// rows of its table beside `num_classes`.
    package var hasNullRow = true

    package init(
        inputSize: Int, patchSize: Int, inChannels: Int, hiddenSize: Int, depth: Int, numHeads: Int, numClasses: Int,
        learnSigma: Bool
    ) {
        self.inputSize = inputSize
        self.patchSize = patchSize
        self.inChannels = inChannels
        self.hiddenSize = hiddenSize
        self.depth = depth
        self.numHeads = numHeads
        self.numClasses = numClasses
        self.learnSigma = learnSigma
    }

    /// Why the network cannot take images of another size and scale of positions; nil where it can.
    package func fault(of grid: ImageGrid) -> String? {
        guard grid.size > 0, grid.size <= 4096, grid.size.isMultiple(of: patchSize) else {
            return "a resolution is a multiple of the patch size \(patchSize) up to 4096, not \(grid.size)"
        }
        return grid.positionScale > 0 && grid.positionScale.isFinite ? nil : "a position scale is above 0, not \(grid.positionScale)"
    }

    enum CodingKeys: String, CodingKey {
        case inputSize = "input_size"
        case patchSize = "patch_size"
        case inChannels = "in_channels"
        case hiddenSize = "hidden_size"
        case depth
        case numHeads = "num_heads"
        case numClasses = "num_classes"
        case learnSigma = "learn_sigma"
    }

    /// Rows of the class table in a file.
    package var classRows: Int { hasNullRow ? numClasses + 1 : numClasses }
    package var outChannels: Int { learnSigma ? 2 * inChannels : inChannels }
    /// Patches along one side.
    package var gridSize: Int { inputSize / patchSize }
    /// Tokens of one image, T.
    package var tokens: Int { gridSize * gridSize }
    package var headDimension: Int { hiddenSize / numHeads }
    package var mlpSize: Int { 4 * hiddenSize }
    /// Values of one patch on the way in: channel, row, column with the channel slowest.
    package var patchInSize: Int { inChannels * patchSize * patchSize }
    /// Values of one patch on the way out: row, column, channel with the channel fastest.
    package var patchOutSize: Int { outChannels * patchSize * patchSize }

    /// Depth, width and heads of the published sizes (`DiT.md`, "Sizes").
    private static let sizes = ["S": (12, 384, 6), "B": (12, 768, 12), "L": (24, 1024, 16), "XL": (28, 1152, 16)]

    /// DiT-S, B, L and XL at patch 2, 4 and 8 for 256 or 512 pixel images, by the names of the paper ("DiT-XL/2").
    package static func preset(_ name: String, pixels: Int = 256) -> DiTConfiguration? {
        let parts = name.replacing("DiT-", with: "").split(separator: "/").map(String.init)
        guard parts.count == 2, let (depth, hidden, heads) = sizes[parts[0]], let patch = Int(parts[1]), [2, 4, 8].contains(patch)
        else { return nil }
        return DiTConfiguration(
            inputSize: pixels / 8, patchSize: patch, inChannels: 4, hiddenSize: hidden, depth: depth, numHeads: heads,
            numClasses: 1000, learnSigma: true)
    }

    /// The heads of the published network of this width and depth, which no checkpoint says; nil for any other network.
    static func publishedHeads(width: Int, depth: Int) -> Int? {
        sizes.values.first { $0.0 == depth && $0.1 == width }?.2
    }

    /// The fixed table of positions (T, D): the column's block first, then the row's, each [sin | cos].
    package var positions: [Float] { positions(scale: 1) }

    /// - Parameter scale: every coordinate is divided by it, so that a finer grid spans the range that a base was trained on
    ///   (`DiffFit.md`, "Finer grids").
    package func positions(scale: Double) -> [Float] {
        let quarter = hiddenSize / 4
        let frequencies = (0..<quarter).map { pow(10000, -Double($0) / Double(quarter)) }
        // Each coordinate's sines and cosines are the same in every row and column.
        let halves = (0..<gridSize).map { position in
            frequencies.map { Float(sin(Double(position) / scale * $0)) } + frequencies.map { Float(cos(Double(position) / scale * $0)) }
        }
        return (0..<gridSize).flatMap { row in (0..<gridSize).flatMap { column in halves[column] + halves[row] } }
    }
}
