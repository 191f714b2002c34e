import TensorMath

/// One DiT block as sampling runs it: the function of `TransformerBlock.forward` for one image, its four matrices packed.
///
/// Each product's accumulators are read once, in cache, by the epilogue that adds bias, gammas, gate and residual. The low-rank pair that an
/// adapter may have beside a layer is added to the accumulators before, in float32; the packed matrix is not touched.
struct InferenceBlock: Sendable {
    let layers: BlockLayers<PackedMatrix>

    /// Takes `a.x`, the residual stream (T, D), through the block.
    func forward(_ a: InferenceWorkspace, tunables t: Tunables.Block, modulation: Matrix, shape: BlockShape, group: ThreadGroup) {
        let f = a.folded
        f.fold(t, modulation: modulation)
        norm(a, scale: f.scale1, shift: f.shift1, epsilon: TransformerBlock.normEpsilon, shape, group)
        multiply(a.normed, layers.qkv, t.pairs.qkv, a, shape, group) { accumulators, rows in
            biasGamma(accumulators, bias: t.qkvBias, gamma: t.attnGamma1, into: a.qkv.rows(rows))  // (rows, 3D)
        }
        attend(a, shape, group)
        multiply(a.projInput, layers.proj, t.pairs.proj, a, shape, group) { accumulators, rows in
            addResidual(accumulators, bias: t.projBias, gate: f.factor1, to: a.x.rows(rows))  // (rows, D)
        }
        norm(a, scale: f.scale2, shift: f.shift2, epsilon: shape.mlpNormEpsilon, shape, group)
        multiply(a.normed, layers.fc1, t.pairs.fc1, a, shape, group) { accumulators, rows in
            biasGelu(accumulators, bias: t.fc1Bias, into: a.activated.rows(rows))  // (rows, 4D)
        }
        quantiseRows(a.activated, into: a.fc2Input, a, shape, group)
        multiply(a.fc2Input, layers.fc2, t.pairs.fc2, a, shape, group) { accumulators, rows in
            addResidual(accumulators, bias: t.fc2Bias, gate: f.factor2, to: a.x.rows(rows))  // (rows, D)
        }
    }

    /// The four products and nothing else, on whatever the pass holds: what the block's arithmetic alone costs.
    func multiplyAlone(_ a: InferenceWorkspace, shape: BlockShape, group: ThreadGroup) {
        for (x, w) in [(a.normed, layers.qkv), (a.projInput, layers.proj), (a.normed, layers.fc1), (a.fc2Input, layers.fc2)] {
            multiply(x, w, nil, a, shape, group) { _, _ in }
        }
    }

    private func norm(_ a: InferenceWorkspace, scale: Matrix, shift: Matrix, epsilon: Float, _ shape: BlockShape, _ group: ThreadGroup) {
        group.forEach(shape.tiles.parts) { part, thread in
            let rows = shape.tiles.part(part)
            normModulate(
                a.x.rows(rows), scale: scale, shift: shift, epsilon: epsilon, line: a.scratch[thread].workspace.line, into: a.normed.rows(rows))
        }
    }

    /// The tiles and panels of one product, each followed by its epilogue while the accumulators are in cache.
    private func multiply(
        _ x: QuantizedMatrix, _ w: PackedMatrix, _ pair: LowRankPair?, _ a: InferenceWorkspace, _ shape: BlockShape, _ group: ThreadGroup,
        epilogue: (_ accumulators: Accumulators, _ rows: Range<Int>) -> Void
    ) {
        let low = pair.map { project($0, x, a, shape, group) }
        group.forEach(w.tiles(of: x.rows) * w.panels) { unit, thread in
            let rows = w.tile(unit / w.panels, of: x.rows)
            let scratch = a.scratch[thread]
            var accumulators = w.multiply(x.rows(rows), panel: unit % w.panels, in: scratch.workspace)
            if let pair, let low {
                accumulators = pair.added(
                    low.rows(rows), x: { x.rows(rows).floats(in: scratch.floats) }, to: accumulators, scratch: scratch.lowRank)
            }
            epilogue(accumulators, rows)
        }
    }

    /// A x of a low-rank pair, (T, ranks), for all panels of a product.
    private func project(_ pair: LowRankPair, _ x: QuantizedMatrix, _ a: InferenceWorkspace, _ shape: BlockShape, _ group: ThreadGroup) -> Matrix {
        let low = a.lowRank.values(0..<(x.rows * pair.sharedRanks.count)).reshaped(x.rows, pair.sharedRanks.count)
        group.forEach(shape.tiles.parts) { part, thread in
            let rows = shape.tiles.part(part)
            pair.project(x.rows(rows).floats(in: a.scratch[thread].floats), into: low.rows(rows))
        }
        return low
    }

    private func attend(_ a: InferenceWorkspace, _ shape: BlockShape, _ group: ThreadGroup) {
        let D = a.x.columns
        let hd = D / shape.heads
        group.forEach(shape.heads) { head, thread in
            let scratch = a.scratch[thread].attention
            if a.qkv.dtype == .f32 {
                Attention.forward(
                    a.qkv.matrix, head: head, heads: shape.heads, scores: scratch.reshaped(a.x.rows, a.x.rows), into: a.attended.matrix)
            } else {
                let at = head * hd
                a.headAttention.forward(
                    q: a.qkv.columns(at..<(at + hd)), k: a.qkv.columns((D + at)..<(D + at + hd)),
                    v: a.qkv.columns((2 * D + at)..<(2 * D + at + hd)), scale: Attention.scale(hd), scratch: scratch, into: a.attended,
                    columns: at..<(at + hd))
            }
        }
        quantiseRows(a.attended, into: a.projInput, a, shape, group)
    }

    private func quantiseRows(_ x: QuantizedMatrix, into bytes: QuantizedMatrix, _ a: InferenceWorkspace, _ shape: BlockShape, _ group: ThreadGroup) {
        guard bytes.dtype == .u8 else { return }
        group.forEach(shape.tiles.parts) { part, thread in
            let rows = shape.tiles.part(part)
            quantise(x.rows(rows), line: a.scratch[thread].workspace.line, into: bytes.rows(rows))
        }
    }
}

/// What all blocks of a network share.
struct BlockShape: Sendable {
    let tiles: Tiles
    let heads: Int
    let mlpNormEpsilon: Float
}
