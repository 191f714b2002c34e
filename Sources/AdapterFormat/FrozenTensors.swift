extension DiTConfiguration {
    /// Name and shape of every matrix that stays frozen, in the reference's state-dict order (`DiT.md`, "Tensors").
    package var frozenTensors: [(name: String, shape: [Int])] {
        let D = hiddenSize
        var tensors: [(name: String, shape: [Int])] = [
            ("x_embedder.proj.weight", [D, inChannels, patchSize, patchSize]),
            ("t_embedder.mlp.0.weight", [D, 256]),
            ("t_embedder.mlp.2.weight", [D, D]),
        ]
        for i in 0..<depth {
            let b = "blocks.\(i)."
            tensors += [
                (b + "attn.qkv.weight", [3 * D, D]), (b + "attn.proj.weight", [D, D]), (b + "mlp.fc1.weight", [4 * D, D]),
                (b + "mlp.fc2.weight", [D, 4 * D]), (b + "adaLN_modulation.1.weight", [6 * D, D]),
            ]
        }
        tensors += [("final_layer.adaLN_modulation.1.weight", [2 * D, D]), ("final_layer.linear.weight", [patchOutSize, D])]
        return tensors
    }
}
