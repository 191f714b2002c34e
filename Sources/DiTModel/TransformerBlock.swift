import TensorMath

/// One DiT block with adaLN-Zero and DiffFit's gammas, the forward pass (`DiffFit.md`, "Placement"; the backward pass is `BlockBackward`):
///
///     x1  = x  + gamma1 attn.gamma2 gate_a (W_proj attention(attn.gamma1 (W_qkv modulate(norm1 x) + b)) + b)
///     out = x1 + gamma2 gate_m (W_fc2 gelu(W_fc1 modulate(norm2 x1) + b) + b)
///
/// The affine norm and the modulation become one scale and shift per image, gammas and gate one factor per image.
enum TransformerBlock {
    static let normEpsilon: Float = 1e-6

    /// - Parameters:
    ///   - i: index of the block.
    ///   - tunables: the one domain in training.
    ///   - conditioning: a row per image.
    static func forward(
        _ a: BlockActivations, block i: Int, layers w: BlockLayers, tunables: Tunables, conditioning: ConditioningState,
        shape: PassShape, scores: Matrix, scratch: LayerScratch, lowRank: Matrix, into out: Matrix
    ) {
        let t = tunables.blocks[i]
        for image in 0..<shape.images {
            let rows = shape.rows(ofImage: image)
            a.folded(image).fold(t, modulation: conditioning.block(i).row(image))
            normModulate(
                a.x.rows(rows), scale: a.scale1.row(image), shift: a.shift1.row(image), epsilon: normEpsilon, into: a.normed1.rows(rows),
                mean: a.mean1.values(rows), rstd: a.rstd1.values(rows))
        }
        w.qkv.forward(a.normed1, into: a.qkvBeforeGamma, scratch: scratch)  // (R, 3D)
        t.pairs.qkv?.add(a.normed1, to: a.qkvBeforeGamma, scratch: lowRank)
        biasGamma(a.qkvBeforeGamma, bias: t.qkvBias, gamma: t.attnGamma1, into: a.qkv)
        for unit in 0..<(shape.images * shape.heads) {
            let rows = shape.rows(ofImage: unit / shape.heads)
            Attention.forward(a.qkv.rows(rows), head: unit % shape.heads, heads: shape.heads, scores: scores, into: a.attended.rows(rows))
        }
        w.proj.forward(a.attended, into: a.projected, scratch: scratch)  // (R, D)
        t.pairs.proj?.add(a.attended, to: a.projected, scratch: lowRank)
        for image in 0..<shape.images {
            let rows = shape.rows(ofImage: image)
            residual(a.x.rows(rows), a.projected.rows(rows), bias: t.projBias, gate: a.factor1.row(image), into: a.x1.rows(rows))
            normModulate(
                a.x1.rows(rows), scale: a.scale2.row(image), shift: a.shift2.row(image), epsilon: shape.mlpNormEpsilon,
                into: a.normed2.rows(rows), mean: a.mean2.values(rows), rstd: a.rstd2.values(rows))
        }
        w.fc1.forward(a.normed2, into: a.hidden, scratch: scratch)  // (R, 4D)
        t.pairs.fc1?.add(a.normed2, to: a.hidden, scratch: lowRank)
        biasGelu(a.hidden, bias: t.fc1Bias, into: a.activated)
        w.fc2.forward(a.activated, into: a.mlpOut, scratch: scratch)  // (R, D)
        t.pairs.fc2?.add(a.activated, to: a.mlpOut, scratch: lowRank)
        for image in 0..<shape.images {
            let rows = shape.rows(ofImage: image)
            residual(a.x1.rows(rows), a.mlpOut.rows(rows), bias: t.fc2Bias, gate: a.factor2.row(image), into: out.rows(rows))
        }
    }
}
