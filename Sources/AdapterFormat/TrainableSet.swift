/// Which values of the layout (and whether the frozen matrices too) an adapter may move (`DiffFit.md`, "Trainable sets").
package struct TrainableSet: Sendable, Hashable, Codable {
    package enum Method: String, Sendable, Codable, CaseIterable {
        /// DiffFit as published (set B): biases, class table, gammas in the first blocks, affine norm1 and norm2.
        case difffit
        /// DiffFit as publicly re-implemented (set A): without the affine norms.
        case difffitA = "difffit-a"
        /// Biases and class table alone.
        case bitfit
        /// Low-rank pairs beside the frozen matrices, and the class table.
        case lora
        /// The same with biases, as PEFT's `bias` option trains them; read from files, not trained here.
        case loraBias = "lora-bias"
        /// DiffFit's values and low-rank pairs together, as a sum of both kinds has them; not trained here.
        case difffitLora = "difffit-lora"
        /// Every parameter except the fixed position table; the result is a base, not an adapter.
        case full

        /// What a run can train here; the others come from files.
        package static var trained: [Method] { allCases.filter { $0 != .loraBias && $0 != .difffitLora } }
    }

    package let method: Method
    /// Gammas are trained in blocks 0 ..< gammaDepth.
    package let gammaDepth: Int

    package init(_ method: Method, gammaDepth: Int) {
        self.method = method
        self.gammaDepth = gammaDepth
    }

    /// The default depth of the paper: the first half of the blocks.
    package init(_ method: Method, _ configuration: DiTConfiguration) {
        self.init(method, gammaDepth: method == .difffit || method == .difffitA ? configuration.depth / 2 : 0)
    }

    /// Whether it moves low-rank pairs.
    package var isLowRank: Bool { [.lora, .loraBias, .difffitLora].contains(method) }

    package func contains(_ tensor: TunableTensor) -> Bool {
        switch tensor.kind {
        case .lowRank: isLowRank
        case .bias: method != .lora
        case _ where method == .lora || method == .loraBias: false
        case .gamma: tensor.block.map { $0 < gammaDepth } ?? false
        case .normWeight, .normBias: method == .difffit || method == .difffitLora
        }
    }

    /// The tensors of the layout that this set moves, in layout order.
    package func tensors(of layout: TunableLayout) -> [TunableTensor] { layout.tensors.filter(contains) }

    /// Trained values outside the frozen matrices, the class table with its null row included.
    package func count(in layout: TunableLayout, classes: Int) -> Int {
        tensors(of: layout).reduce((classes + 1) * layout.configuration.hiddenSize) { $0 + $1.count }
    }
}
