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
        _ a: BlockActivations, block i: Int, layers w: BlockLayers<LayerMatrix>, tunables: Tunables, conditioning: ConditioningState,
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

/// The backward pass of `TransformerBlock`: `s.dx` enters as the gradient of the block's output and leaves as the gradient of its input.
struct BlockBackward {
    /// What the forward pass kept.
    let a: BlockActivations
    let layers: BlockLayers<LayerMatrix>
    let tunables: Tunables.Block
    /// A row per image.
    let modulation, dModulation: Matrix
    let shape: PassShape
    let s: BackwardScratch
    let scores: Matrix
    let layerScratch: LayerScratch
    let lowRank: Matrix
    /// Added to.
    let gradients: Tunables.Block
    /// Added to; nil leaves the matrices alone.
    let weightGradients: BlockLayers<Matrix>?

    func run() {
        mlpBranch()
        attentionBranch()
    }

    private func mlpBranch() {
        let (t, g) = (tunables, gradients)
        forEachImage { image, rows, m, dm in
            s.dFactor.fill(0)
            residualBackward(s.dx.rows(rows), z: a.mlpOut.rows(rows), gate: a.factor2.row(image), dz: s.dBranch.rows(rows), dgate: s.dFactor)
            multiplyElements(s.dFactor, m.gate2, addingTo: g.gamma2)
            multiplyElements(s.dFactor, t.gamma2, into: dm.gate2)
        }
        linear(layers.fc2, t.pairs.fc2, dy: s.dBranch, x: a.activated, dx: s.dHidden, g.fc2Bias, weightGradients?.fc2, g.pairs.fc2)  // (R, 4D)
        geluBackward(s.dHidden, h: a.hidden, dh: s.dHidden)
        linear(layers.fc1, t.pairs.fc1, dy: s.dHidden, x: a.normed2, dx: s.dNormed, g.fc1Bias, weightGradients?.fc1, g.pairs.fc1)  // (R, D)
        forEachImage { image, rows, m, dm in
            normBackward(rows, x: a.x1, mean: a.mean2, rstd: a.rstd2, scale: a.scale2.row(image))
            foldModulationBackward(
                dscale: s.dScale, dshift: s.dShift, weight: t.norm2Weight, bias: t.norm2Bias, scale: m.scale2,
                dweight: g.norm2Weight, dbias: g.norm2Bias, ds: dm.scale2, db: dm.shift2)
        }
    }

    private func attentionBranch() {
        let (t, g) = (tunables, gradients)
        forEachImage { image, rows, m, dm in
            s.dFactor.fill(0)
            residualBackward(s.dx.rows(rows), z: a.projected.rows(rows), gate: a.factor1.row(image), dz: s.dBranch.rows(rows), dgate: s.dFactor)
            multiplyElements(s.dFactor, m.gate1, into: s.dScale)
            multiplyElements(s.dScale, t.attnGamma2, addingTo: g.gamma1)
            multiplyElements(s.dScale, t.gamma1, addingTo: g.attnGamma2)
            multiplyElements(t.gamma1, t.attnGamma2, into: dm.gate1)
            multiplyElements(dm.gate1, s.dFactor, into: dm.gate1)
        }
        // (R, D), of the attended values
        linear(layers.proj, t.pairs.proj, dy: s.dBranch, x: a.attended, dx: s.dNormed, g.projBias, weightGradients?.proj, g.pairs.proj)
        forEachImage { _, rows, _, _ in
            // The scaled q, k, v were scratch; they are formed again from what was kept before the gamma.
            scaleColumns(a.qkvBeforeGamma.rows(rows), by: t.attnGamma1, into: a.qkv.rows(rows))
            for head in 0..<shape.heads {
                Attention.backward(
                    s.dNormed.rows(rows), qkv: a.qkv.rows(rows), head: head, heads: shape.heads, scores: scores, dScores: s.dScores,
                    into: s.dQKV.rows(rows))
            }
        }
        gammaBackward(s.dQKV, z: a.qkvBeforeGamma, gamma: t.attnGamma1, dz: s.dQKV, dgamma: g.attnGamma1)
        linear(layers.qkv, t.pairs.qkv, dy: s.dQKV, x: a.normed1, dx: s.dNormed, g.qkvBias, weightGradients?.qkv, g.pairs.qkv)  // (R, D)
        forEachImage { image, rows, m, dm in
            normBackward(rows, x: a.x, mean: a.mean1, rstd: a.rstd1, scale: a.scale1.row(image))
            foldModulationBackward(
                dscale: s.dScale, dshift: s.dShift, weight: t.norm1Weight, bias: t.norm1Bias, scale: m.scale1,
                dweight: g.norm1Weight, dbias: g.norm1Bias, ds: dm.scale1, db: dm.shift1)
        }
    }

    private func forEachImage(_ body: (_ image: Int, _ rows: Range<Int>, _ m: Modulation, _ dm: Modulation) -> Void) {
        for image in 0..<shape.images {
            body(image, shape.rows(ofImage: image), Modulation(modulation.row(image)), Modulation(dModulation.row(image)))
        }
    }

    /// A linear layer and its pair: dx from dy, and the gradients of the bias, of the matrix where it has one, and of the pair.
    private func linear(
        _ layer: LayerMatrix, _ pair: LowRankPair?, dy: Matrix, x: Matrix, dx: Matrix, _ dBias: Matrix, _ dWeight: Matrix?, _ dPair: LowRankPair?
    ) {
        addColumnSums(of: dy, to: dBias)
        if let dWeight { layer.addGradient(dy, x: x, to: dWeight, scratch: layerScratch) }
        layer.backward(dy, into: dx, scratch: layerScratch)
        if let pair, let dPair { pair.backward(dy, x: x, dx: dx, gradient: dPair, scratch: lowRank) }
    }

    /// Of one image's norm: its input's gradient is added to `s.dx`, those of the folded scale and shift are left in `s.dScale`, `s.dShift`.
    private func normBackward(_ rows: Range<Int>, x: Matrix, mean: Matrix, rstd: Matrix, scale: Matrix) {
        s.dScale.fill(0)
        s.dShift.fill(0)
        normModulateBackward(
            s.dNormed.rows(rows), x: x.rows(rows), mean: mean.values(rows), rstd: rstd.values(rows), scale: scale, dx: s.dx.rows(rows),
            dscale: s.dScale, dshift: s.dShift)
    }
}

/// The six parts of one block's modulation row, in the reference's order.
struct Modulation {
    let shift1, scale1, gate1, shift2, scale2, gate2: Matrix  // (D)

    init(_ row: Matrix) {
        let D = row.count / 6
        var at = 0
        shift1 = row.next(D, at: &at)
        scale1 = row.next(D, at: &at)
        gate1 = row.next(D, at: &at)
        shift2 = row.next(D, at: &at)
        scale2 = row.next(D, at: &at)
        gate2 = row.next(D, at: &at)
    }
}

/// What an image's domain and conditioning make of one block: affine norm and modulation as one scale and shift per branch,
/// gammas and gate as one factor.
struct FoldedVectors: Sendable {
    let scale1, shift1, factor1, scale2, shift2, factor2: Matrix  // (D)

    func fold(_ t: Tunables.Block, modulation row: Matrix) {
        let m = Modulation(row)
        foldModulation(weight: t.norm1Weight, bias: t.norm1Bias, scale: m.scale1, shift: m.shift1, into: scale1, shift1)
        foldModulation(weight: t.norm2Weight, bias: t.norm2Bias, scale: m.scale2, shift: m.shift2, into: scale2, shift2)
        multiplyElements(t.gamma1, t.attnGamma2, into: factor1)
        multiplyElements(factor1, m.gate1, into: factor1)
        multiplyElements(t.gamma2, m.gate2, into: factor2)
    }
}
