import AdapterFormat
import TensorMath

/// The diffusion transformer as training runs it: forward keeping what backward needs, one domain for all images.
///
/// It holds no bias and no gamma: those come as `Tunables`. The way forward reads like the reference's: embed, blocks, final
/// layer; `Conditioning` has computed the modulation of every block beforehand. Sampling runs a `PackedDiT` made of it.
package struct DiT: Sendable {
    package let configuration: DiTConfiguration
    package let weights: Weights
    package let preset: Preset
    private let ends: ImageEnds

    package init(_ configuration: DiTConfiguration, weights: Weights, preset: Preset = .original) {
        self.configuration = configuration
        self.weights = weights
        self.preset = preset
        ends = ImageEnds(configuration, weights: weights)
    }

    /// Way forward of the pass's images, keeping what the way back needs.
    /// - Parameters:
    ///   - x: (images, C S S).
    ///   - conditioning: a row per image.
    ///   - tunables: the one domain in training.
    ///   - out: (images, Cout S S).
    package func forward(_ pass: Pass, x: Matrix, conditioning: ConditioningState, tunables: Tunables, into out: Matrix) {
        let a = pass.activations
        for image in 0..<x.rows {
            let rows = pass.shape.rows(ofImage: image)
            ends.embed(x.row(image), bias: tunables.xEmbedderBias, patches: a.patches.rows(rows), into: a.blocks[0].x.rows(rows))
        }
        for i in weights.blocks.indices {
            TransformerBlock.forward(
                a.blocks[i], block: i, weights: weights.blocks[i], tunables: tunables, conditioning: conditioning, shape: pass.shape,
                scores: a.scores, into: a.output(ofBlock: i))
        }
        for image in 0..<out.rows {
            let rows = pass.shape.rows(ofImage: image)
            ends.finish(
                a.last.rows(rows), modulation: conditioning.final.row(image), bias: tunables.finalLinearBias, a.lastLayer(image, rows),
                into: out.row(image))
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
        let (a, s) = (pass.activations, pass.scratch)
        let T = configuration.tokens
        finalLayerBackward(pass, dOut: dOut, conditioning: conditioning, scratch: s, gradients: gradients, weightGradients)
        for i in weights.blocks.indices.reversed() {
            TransformerBlock.backward(
                a.blocks[i], block: i, weights: weights.blocks[i], tunables: tunables, conditioning: conditioning, shape: pass.shape,
                scratch: s, scores: a.scores, gradients: gradients, weightGradients: weightGradients?.blocks[i])
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
