import Crypto
import Foundation

/// What one tunable tensor does in the network. A trainable set is chosen by these kinds.
package enum TunableKind: String, Codable, Sendable, CaseIterable {
    case bias
    /// A DiffFit scale factor, 1 in the base model.
    case gamma
    /// Affine LayerNorm weight, 1 in the base model.
    case normWeight
    /// Affine LayerNorm bias, 0 in the base model.
    case normBias
    /// A factor of a low-rank pair beside a frozen matrix, absent in the base model (`LowRank`).
    case lowRank
}

/// One row of the layout: a tensor under its reference name and where its values lie in a `TunableVector`.
package struct TunableTensor: Sendable, Hashable {
    package let name: String
    package let kind: TunableKind
    package let range: Range<Int>
    package let shape: [Int]
    /// Index of the transformer block, nil outside the blocks.
    package let block: Int?

    package var count: Int { range.count }
}

/// The ordered table of every value that an adapter may change in one base model: biases, gammas and affine LayerNorm, and
/// for a LoRA adapter its low-rank pairs after them.
///
/// The table is the same for every adapter of a base: gammas and norms have their place in each block, and a
/// `TrainableSet` says which of them an adapter may move. Names and order follow the reference's state dict
/// (`AdapterFormat.md`, "Tensors"). The class table travels beside the vector, since its row count differs per domain.
package struct TunableLayout: Sendable, Hashable {
    package let configuration: DiTConfiguration
    package let tensors: [TunableTensor]
    /// Values in one vector.
    package let count: Int
    /// The pairs at the end of the table; nil in the base's own table and DiffFit's.
    package let lowRank: LowRank?
    private let indexByName: [String: Int]

    package init(_ configuration: DiTConfiguration) {
        let D = configuration.hiddenSize
        var tensors: [TunableTensor] = []
        var end = 0
        func add(_ name: String, _ kind: TunableKind, _ count: Int, block: Int? = nil) {
            tensors.append(TunableTensor(name: name, kind: kind, range: end..<(end + count), shape: [count], block: block))
            end += count
        }
        add("x_embedder.proj.bias", .bias, D)
        add("t_embedder.mlp.0.bias", .bias, D)
        add("t_embedder.mlp.2.bias", .bias, D)
        for i in 0..<configuration.depth {
            let b = "blocks.\(i)."
            add(b + "norm1.weight", .normWeight, D, block: i)
            add(b + "norm1.bias", .normBias, D, block: i)
            add(b + "attn.qkv.bias", .bias, 3 * D, block: i)
            add(b + "attn.gamma1", .gamma, 3 * D, block: i)
            add(b + "attn.proj.bias", .bias, D, block: i)
            add(b + "attn.gamma2", .gamma, D, block: i)
            add(b + "gamma1", .gamma, D, block: i)
            add(b + "norm2.weight", .normWeight, D, block: i)
            add(b + "norm2.bias", .normBias, D, block: i)
            add(b + "mlp.fc1.bias", .bias, 4 * D, block: i)
            add(b + "mlp.fc2.bias", .bias, D, block: i)
            add(b + "gamma2", .gamma, D, block: i)
            add(b + "adaLN_modulation.1.bias", .bias, 6 * D, block: i)
        }
        add("final_layer.linear.bias", .bias, configuration.patchOutSize)
        add("final_layer.adaLN_modulation.1.bias", .bias, 2 * D)
        self.init(configuration, tensors, lowRank: nil)
    }

    init(_ configuration: DiTConfiguration, _ tensors: [TunableTensor], lowRank: LowRank?) {
        self.configuration = configuration
        self.tensors = tensors
        self.count = tensors.last?.range.upperBound ?? 0
        self.lowRank = lowRank
        self.indexByName = Dictionary(uniqueKeysWithValues: tensors.enumerated().map { ($1.name, $0) })
    }

    package subscript(name: String) -> TunableTensor? { indexByName[name].map { tensors[$0] } }

    package static let classTableName = "y_embedder.embedding_table.weight"

    /// SHA-256 over the names and shapes in order and the pairs' scales: two bases with one digest accept the same vectors.
    package var digest: Digest {
        var hash = SHA256()
        for tensor in tensors {
            hash.update(data: Data("\(tensor.name)[\(tensor.shape.map(String.init).joined(separator: ","))]\n".utf8))
        }
        if let lowRank {
            hash.update(data: Data("scale \(lowRank.scale)\n".utf8))
            for (linear, scale) in lowRank.scales.sorted(by: { $0.key < $1.key }) { hash.update(data: Data("scale \(linear) \(scale)\n".utf8)) }
        }
        return Digest(hash.finalize())
    }
}
