import AdapterFormat
import TensorMath

/// The diffusion transformer: matrices, positions and the way an image takes through them.
///
/// It holds no bias and no gamma: those come with each image as `Tunables`. The way forward reads like the reference's:
/// embed, blocks, final layer; `Conditioning` has computed the modulation of every block beforehand.
package struct DiT: Sendable {
    package let configuration: DiTConfiguration
    package let weights: Weights
    package let preset: Preset
    let positions: Matrix  // (T, D)
    let ones, zeros: Matrix  // (D), the final layer's norm has no affine part

    package init(_ configuration: DiTConfiguration, weights: Weights, preset: Preset = .original) {
        let D = configuration.hiddenSize
        let memory = Memory(capacity: Memory.paddedCount(configuration.tokens * D) + 2 * Memory.paddedCount(D))
        self.configuration = configuration
        self.weights = weights
        self.preset = preset
        positions = memory.take(configuration.tokens, D)
        ones = memory.take(D)
        zeros = memory.take(D)
        positions.copy(from: Patches.positions(configuration))
        ones.fill(1)
        memory.seal()
    }

    /// Way forward of the pass's images.
    /// - Parameters:
    ///   - x: (images, C S S).
    ///   - conditioning: its rows from `firstRow` on belong to the images.
    ///   - tunables: the domain of each image.
    ///   - out: (images, Cout S S).
    ///   - stack: whether the blocks run, or what they add is given.
    ///   - onStage: sees the tokens (R, D) that enter block 0 and then each block's output.
    package func forward(
        _ pass: Pass, x: Matrix, conditioning: ConditioningState, firstRow: Int = 0, tunables: ArraySlice<Tunables>, stack: BlockStack = .run,
        team: Team = .solo, into out: Matrix, onStage: (Matrix) -> Void = { _ in }
    ) {
        let a = pass.activations
        let T = configuration.tokens
        let tokens = a.blocks[0].x
        for image in 0..<x.rows {
            let rows = (image * T)..<((image + 1) * T)
            Patches.cut(x.row(image), configuration, into: a.patches.rows(rows))
            multiply(.plain(a.patches.rows(rows)), .transposed(weights.xEmbedder), into: tokens.rows(rows))  // (T, D)
            addBias(tokens.rows(rows), tunables[tunables.startIndex + image].xEmbedderBias)
            add(positions, to: tokens.rows(rows))
        }
        onStage(tokens)
        if case .skip(let residual) = stack {
            residual.sum(with: tokens, into: a.last)
            return finalLayer(pass, conditioning: conditioning, firstRow: firstRow, tunables: tunables, into: out)
        }
        if case .keep(let residual) = stack { residual.copy(from: tokens) }
        for i in weights.blocks.indices {
            TransformerBlock.forward(
                a.blocks[i], block: i, weights: weights.blocks[i], tunables: tunables, conditioning: conditioning, firstRow: firstRow,
                shape: pass.shape, scores: a.scores, team: team, into: a.output(ofBlock: i))
            onStage(a.output(ofBlock: i))
        }
        if case .keep(let residual) = stack { a.last.differ(from: residual) }
        finalLayer(pass, conditioning: conditioning, firstRow: firstRow, tunables: tunables, into: out)
    }

    private func finalLayer(
        _ pass: Pass, conditioning: ConditioningState, firstRow: Int, tunables: ArraySlice<Tunables>, into out: Matrix
    ) {
        let a = pass.activations
        let T = configuration.tokens
        let D = configuration.hiddenSize
        for image in 0..<out.rows {
            let rows = (image * T)..<((image + 1) * T)
            let modulation = conditioning.final.row(firstRow + image)
            foldModulation(
                weight: ones, bias: zeros, scale: modulation.values(D..<(2 * D)), shift: modulation.values(0..<D),
                into: a.lastScale.row(image), a.lastShift.row(image))
            normModulate(
                a.last.rows(rows), scale: a.lastScale.row(image), shift: a.lastShift.row(image),
                epsilon: TransformerBlock.normEpsilon, into: a.lastNormed.rows(rows), mean: a.lastMean.values(rows),
                rstd: a.lastRstd.values(rows))
            multiply(.plain(a.lastNormed.rows(rows)), .transposed(weights.finalLinear), into: a.patchesOut.rows(rows))
            addBias(a.patchesOut.rows(rows), tunables[tunables.startIndex + image].finalLinearBias)
            Patches.join(a.patchesOut.rows(rows), configuration, into: out.row(image))
        }
    }

    /// Way back of a pass that kept its history: adds to the gradients.
    /// - Parameters:
    ///   - dOut: (images, Cout S S), the gradient of what `forward` wrote.
    ///   - classes: as given to the conditioning.
    ///   - tunables: the one domain in training.
    package func backward(
        _ pass: Pass, dOut: Matrix, conditioning: ConditioningState, classes: [Int], tunables: Tunables, gradients: Tunables,
        weightGradients: Weights?
    ) {
        guard let s = pass.scratch else { preconditionFailure("a pass without history has no way back") }
        let a = pass.activations
        let T = configuration.tokens
        finalLayerBackward(pass, dOut: dOut, conditioning: conditioning, scratch: s, gradients: gradients, weightGradients)
        for i in weights.blocks.indices.reversed() {
            TransformerBlock.backward(
                a.blocks[i], block: i, weights: weights.blocks[i], tunables: tunables, conditioning: conditioning, shape: pass.shape,
                scratch: s, scores: a.scores[0], gradients: gradients, weightGradients: weightGradients?.blocks[i])
        }
        addColumnSums(of: s.dx, to: gradients.xEmbedderBias)
        if let g = weightGradients { multiply(.transposed(s.dx), .plain(a.patches), into: g.xEmbedder, adding: true) }
        precondition(s.dx.rows == pass.shape.images * T)
        Conditioning.backward(
            conditioning, rows: pass.shape.images, classes: classes, tunables: tunables, weights: weights, gradients: gradients,
            weightGradients: weightGradients)
    }

    private func finalLayerBackward(
        _ pass: Pass, dOut: Matrix, conditioning: ConditioningState, scratch s: BackwardScratch, gradients: Tunables,
        _ weightGradients: Weights?
    ) {
        let a = pass.activations
        let T = configuration.tokens
        let D = configuration.hiddenSize
        for image in 0..<dOut.rows {
            Patches.split(dOut.row(image), configuration, into: s.dPatchesOut.rows((image * T)..<((image + 1) * T)))
        }
        addColumnSums(of: s.dPatchesOut, to: gradients.finalLinearBias)
        multiply(.plain(s.dPatchesOut), .plain(weights.finalLinear), into: s.dNormed)  // (R, D)
        s.dx.fill(0)
        for image in 0..<dOut.rows {
            let rows = (image * T)..<((image + 1) * T)
            let dModulation = conditioning.dFinal.row(image)
            let dShift = dModulation.values(0..<D)
            let dScale = dModulation.values(D..<(2 * D))
            dModulation.fill(0)
            normModulateBackward(
                s.dNormed.rows(rows), x: a.last.rows(rows), mean: a.lastMean.values(rows), rstd: a.lastRstd.values(rows),
                scale: a.lastScale.row(image), dx: s.dx.rows(rows), dscale: dScale, dshift: dShift)
            if let g = weightGradients {
                // The normalised rows were scratch; they are formed again for the matrix's gradient.
                normModulate(
                    a.last.rows(rows), scale: a.lastScale.row(image), shift: a.lastShift.row(image),
                    epsilon: TransformerBlock.normEpsilon, into: a.lastNormed.rows(rows), mean: a.lastMean.values(rows),
                    rstd: a.lastRstd.values(rows))
                multiply(.transposed(s.dPatchesOut.rows(rows)), .plain(a.lastNormed.rows(rows)), into: g.finalLinear, adding: true)
            }
        }
    }
}
