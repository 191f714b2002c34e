import AdapterFormat
import DiTModel
import TensorFiles
import TensorMath

/// A dense base made sparse: of every four neighbouring weights along the rows of its blocks' four matrices two are kept (2:4). All else stays.
package struct BaseSparsification {
    /// By what weights are chosen.
    package enum Saliency: String, Sendable, CaseIterable {
        /// By their size.
        case magnitude
        /// By what the output of their layer loses without them (`SecondOrderPruning`); the kept ones make up for it.
        case secondOrder = "second-order"
    }

    /// Of the layers by their reference names: the squared error of the output against the dense layer's, as a share of its square, where the
    /// inputs are known.
    package let errors: [String: Double]
    private let base: BaseFile
    private let saliency: Saliency
    private let matrices: [String: Matrix]

    /// - Parameters:
    ///   - calibration: what the layers are multiplied by; without it weights are chosen by magnitude.
    ///   - onProgress: share that is done.
    /// - Throws: `AdapterFormatError.noPattern`.
    package init(_ base: BaseFile, _ saliency: Saliency, _ calibration: LayerCalibration?, pool: ThreadPool, onProgress: (Double) -> Void = { _ in }) throws {
        precondition(saliency == .magnitude || calibration != nil, "second-order saliency is measured on activations")
        try base.checkMayBecomeSparse()
        let c = base.configuration
        var matrices: [String: Matrix] = [:], errors: [String: Double] = [:]
        for block in 0..<c.depth {
            for linear in LowRank.Linear.allCases {
                let name = linear.name(block: block) + ".weight", (rows, columns) = (linear.outputs(c), linear.inputs(c))
                let count = Memory.paddedCount(rows * columns)
                let dense = Memory(capacity: count).take(rows, columns), w = Memory(capacity: count).take(rows, columns)
                dense.copy(from: try base.file.floats(name))
                w.copy(from: dense)
                let moments = calibration?.moments[block][linear]
                switch (saliency, moments) {
                case (.secondOrder, let moments?): SecondOrderPruning.prune(w, moments: moments, pool: pool)
                default: keepTwoOfFour(w, into: w)
                }
                if let moments { errors[name] = SecondOrderPruning.relativeError(of: w, against: dense, moments: moments) }
                matrices[name] = w
                onProgress(Double(matrices.count) / Double(4 * c.depth))
            }
        }
        (self.base, self.saliency, self.matrices, self.errors) = (base, saliency, matrices, errors)
    }

    /// Writes the sparse base, which is another base than the dense one.
    /// - Parameter type: of the matrices; nil is the dense base's own.
    package func write(named name: String, as type: DType? = nil, to path: String) throws {
        var card = base.card
        card.name = name
        // A file has its autoencoders beside it.
        (card.vae, card.tinyVAE, card.roundedFrom) = (nil, nil, nil)
        card.sparsity = BaseSparsity(pattern: TwoOfFour.name, saliency: saliency.rawValue, dense: base.digest)
        let isHalf = try base.configuration.frozenTensors.allSatisfy { try base.file.entry($0.name).dtype == .bf16 }
        try BaseFile.write(
            to: path, base.configuration, card: card, vector: base.vector, classes: base.classes, as: type ?? (isHalf ? .bf16 : .f32)
        ) { name in
            try matrices[name]?.array ?? base.file.floats(name)
        }
    }
}
