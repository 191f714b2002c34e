import TensorMath

/// One DiT block with adaLN-Zero and DiffFit's gammas, way forward and way back (`reference/difffit.md` section 2):
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

    /// Way back: `s.dx` enters as the gradient of the block's output and leaves as the gradient of its input.
    /// - Parameters:
    ///   - gradients: added to.
    ///   - weightGradients: added to; nil leaves the matrices alone.
    static func backward(
        _ a: BlockActivations, block i: Int, layers w: BlockLayers, tunables: Tunables, conditioning: ConditioningState,
        shape: PassShape, scratch s: BackwardScratch, scores: Matrix, layerScratch: LayerScratch, lowRank: Matrix, gradients: Tunables, weightGradients: Weights.Block?
    ) {
        let t = tunables.blocks[i]
        let g = gradients.blocks[i]
        func pairBackward(_ pair: LowRankPair?, _ gradient: LowRankPair?, _ dy: Matrix, x: Matrix, dx: Matrix) {
            if let pair, let gradient { pair.backward(dy, x: x, dx: dx, gradient: gradient, scratch: lowRank) }
        }
        let images = 0..<shape.images

        // MLP branch
        for image in images {
            let rows = shape.rows(ofImage: image)
            s.dFactor.fill(0)
            residualBackward(
                s.dx.rows(rows), z: a.mlpOut.rows(rows), gate: a.factor2.row(image), dz: s.dBranch.rows(rows), dgate: s.dFactor)
            let gate = Modulation(conditioning.block(i).row(image)).gate2
            multiplyElements(s.dFactor, gate, addingTo: g.gamma2)
            multiplyElements(s.dFactor, t.gamma2, into: Modulation(conditioning.dBlock(i).row(image)).gate2)
        }
        addColumnSums(of: s.dBranch, to: g.fc2Bias)
        if let wg = weightGradients { multiply(.transposed(s.dBranch), .plain(a.activated), into: wg.fc2, adding: true) }
        w.fc2.backward(s.dBranch, into: s.dHidden, scratch: layerScratch)  // (R, 4D)
        pairBackward(t.pairs.fc2, g.pairs.fc2, s.dBranch, x: a.activated, dx: s.dHidden)
        geluBackward(s.dHidden, h: a.hidden, dh: s.dHidden)
        addColumnSums(of: s.dHidden, to: g.fc1Bias)
        if let wg = weightGradients { multiply(.transposed(s.dHidden), .plain(a.normed2), into: wg.fc1, adding: true) }
        w.fc1.backward(s.dHidden, into: s.dNormed, scratch: layerScratch)  // (R, D)
        pairBackward(t.pairs.fc1, g.pairs.fc1, s.dHidden, x: a.normed2, dx: s.dNormed)
        for image in images {
            let rows = shape.rows(ofImage: image)
            let m = Modulation(conditioning.block(i).row(image))
            let dm = Modulation(conditioning.dBlock(i).row(image))
            s.dScale.fill(0)
            s.dShift.fill(0)
            normModulateBackward(
                s.dNormed.rows(rows), x: a.x1.rows(rows), mean: a.mean2.values(rows), rstd: a.rstd2.values(rows),
                scale: a.scale2.row(image), dx: s.dx.rows(rows), dscale: s.dScale, dshift: s.dShift)
            foldModulationBackward(
                dscale: s.dScale, dshift: s.dShift, weight: t.norm2Weight, bias: t.norm2Bias, scale: m.scale2,
                dweight: g.norm2Weight, dbias: g.norm2Bias, ds: dm.scale2, db: dm.shift2)
        }

        // Attention branch
        for image in images {
            let rows = shape.rows(ofImage: image)
            s.dFactor.fill(0)
            residualBackward(
                s.dx.rows(rows), z: a.projected.rows(rows), gate: a.factor1.row(image), dz: s.dBranch.rows(rows), dgate: s.dFactor)
            let gate = Modulation(conditioning.block(i).row(image)).gate1
            let dGate = Modulation(conditioning.dBlock(i).row(image)).gate1
            multiplyElements(s.dFactor, gate, into: s.dScale)
            multiplyElements(s.dScale, t.attnGamma2, addingTo: g.gamma1)
            multiplyElements(s.dScale, t.gamma1, addingTo: g.attnGamma2)
            multiplyElements(t.gamma1, t.attnGamma2, into: dGate)
            multiplyElements(dGate, s.dFactor, into: dGate)
        }
        addColumnSums(of: s.dBranch, to: g.projBias)
        if let wg = weightGradients { multiply(.transposed(s.dBranch), .plain(a.attended), into: wg.proj, adding: true) }
        w.proj.backward(s.dBranch, into: s.dNormed, scratch: layerScratch)  // (R, D), of the attended values
        pairBackward(t.pairs.proj, g.pairs.proj, s.dBranch, x: a.attended, dx: s.dNormed)
        for image in images {
            let rows = shape.rows(ofImage: image)
            // The scaled q, k, v were scratch; they are formed again from what was kept before the gamma.
            scaleColumns(a.qkvBeforeGamma.rows(rows), by: t.attnGamma1, into: a.qkv.rows(rows))
            for head in 0..<shape.heads {
                Attention.backward(
                    s.dNormed.rows(rows), qkv: a.qkv.rows(rows), head: head, heads: shape.heads, scores: scores,
                    dScores: s.dScores, into: s.dQKV.rows(rows))
            }
        }
        gammaBackward(s.dQKV, z: a.qkvBeforeGamma, gamma: t.attnGamma1, dz: s.dQKV, dgamma: g.attnGamma1)
        addColumnSums(of: s.dQKV, to: g.qkvBias)
        if let wg = weightGradients { multiply(.transposed(s.dQKV), .plain(a.normed1), into: wg.qkv, adding: true) }
        w.qkv.backward(s.dQKV, into: s.dNormed, scratch: layerScratch)  // (R, D)
        pairBackward(t.pairs.qkv, g.pairs.qkv, s.dQKV, x: a.normed1, dx: s.dNormed)
        for image in images {
            let rows = shape.rows(ofImage: image)
            let m = Modulation(conditioning.block(i).row(image))
            let dm = Modulation(conditioning.dBlock(i).row(image))
            s.dScale.fill(0)
            s.dShift.fill(0)
            normModulateBackward(
                s.dNormed.rows(rows), x: a.x.rows(rows), mean: a.mean1.values(rows), rstd: a.rstd1.values(rows),
                scale: a.scale1.row(image), dx: s.dx.rows(rows), dscale: s.dScale, dshift: s.dShift)
            foldModulationBackward(
                dscale: s.dScale, dshift: s.dShift, weight: t.norm1Weight, bias: t.norm1Bias, scale: m.scale1,
                dweight: g.norm1Weight, dbias: g.norm1Bias, ds: dm.scale1, db: dm.shift1)
        }
    }
}
