import AdapterFormat
import TensorMath

/// What a training pass keeps of the way forward.
package enum History: Sendable {
    /// DiffFit training: what the gradients of biases, gammas and norms need. The inputs of frozen matrices are not kept.
    case tunables
    /// Full fine-tuning: the inputs of the matrices too.
    case all
}

/// The values of one block for R = images x T rows.
package struct BlockActivations: Sendable {
    /// What enters the block: the residual stream.
    package let x: Matrix  // (R, D)
    let normed1: Matrix  // (R, D)
    let mean1, rstd1: Matrix  // (R)
    /// W_qkv u + b, before its gamma.
    let qkvBeforeGamma: Matrix  // (R, 3D)
    let qkv: Matrix  // (R, 3D)
    let attended: Matrix  // (R, D)
    /// W_proj o + b, before gammas and gate.
    let projected: Matrix  // (R, D)
    let x1: Matrix  // (R, D)
    let normed2: Matrix  // (R, D)
    let mean2, rstd2: Matrix  // (R)
    let hidden, activated: Matrix  // (R, 4D)
    /// W_fc2 a + b, before gamma and gate.
    let mlpOut: Matrix  // (R, D)
    // Per image: norm and modulation folded into one scale and shift, gammas and gate into one factor.
    let scale1, shift1, factor1: Matrix  // (images, D)
    let scale2, shift2, factor2: Matrix  // (images, D)

    func folded(_ image: Int) -> FoldedVectors {
        FoldedVectors(
            scale1: scale1.row(image), shift1: shift1.row(image), factor1: factor1.row(image), scale2: scale2.row(image),
            shift2: shift2.row(image), factor2: factor2.row(image))
    }
}

/// The memory plan of a pass over `images` images: every value of the network on the way forward.
package struct Activations: Sendable {
    let images: Int
    let patches: Matrix  // (R, C p p)
    package let blocks: [BlockActivations]
    /// What enters the final layer.
    package let last: Matrix  // (R, D)
    let lastNormed: Matrix  // (R, D)
    let lastMean, lastRstd: Matrix  // (R)
    let lastScale, lastShift: Matrix  // (images, D)
    let patchesOut: Matrix  // (R, p p Cout)
    let scores: Matrix  // (T, T), attention weights

    /// Builds the plan. Run once with a counting closure to size the memory and once to take it.
    init(_ configuration: DiTConfiguration, images: Int, history: History, take: (Int, Int) -> Matrix) {
        let D = configuration.hiddenSize
        let R = images * configuration.tokens
        let keepsInputs = history == .all
        self.images = images
        patches = take(R, configuration.patchInSize)
        // Scratch that all blocks may share.
        let normed = take(R, D)
        let qkv = take(R, 3 * D)
        let attended = take(R, D)
        let activated = take(R, 4 * D)
        func stats() -> Matrix { take(1, R) }
        blocks = (0..<configuration.depth).map { _ in
            let vectors = (0..<6).map { _ in take(images, D) }
            return BlockActivations(
                x: take(R, D), normed1: keepsInputs ? take(R, D) : normed, mean1: stats(), rstd1: stats(),
                qkvBeforeGamma: take(R, 3 * D), qkv: qkv, attended: keepsInputs ? take(R, D) : attended, projected: take(R, D),
                x1: take(R, D), normed2: keepsInputs ? take(R, D) : normed, mean2: stats(), rstd2: stats(), hidden: take(R, 4 * D),
                activated: keepsInputs ? take(R, 4 * D) : activated, mlpOut: take(R, D),
                scale1: vectors[0], shift1: vectors[1], factor1: vectors[2],
                scale2: vectors[3], shift2: vectors[4], factor2: vectors[5])
        }
        last = take(R, D)
        lastNormed = normed
        lastMean = stats()
        lastRstd = stats()
        lastScale = take(images, D)
        lastShift = take(images, D)
        patchesOut = take(R, configuration.patchOutSize)
        scores = take(configuration.tokens, configuration.tokens)
    }

    func lastLayer(_ image: Int, _ rows: Range<Int>) -> ImageEnds.Last {
        ImageEnds.Last(
            scale: lastScale.row(image), shift: lastShift.row(image), normed: lastNormed.rows(rows), mean: lastMean.values(rows),
            rstd: lastRstd.values(rows), patches: patchesOut.rows(rows))
    }

    /// What leaves block i.
    func output(ofBlock i: Int) -> Matrix { i + 1 < blocks.count ? blocks[i + 1].x : last }
}

/// The memory of the way back that is not gradients: one set, shared by all blocks.
struct BackwardScratch: Sendable {
    let dx: Matrix  // (R, D), the gradient of the residual stream
    let dBranch: Matrix  // (R, D)
    let dNormed: Matrix  // (R, D)
    let dQKV: Matrix  // (R, 3D)
    let dHidden: Matrix  // (R, 4D)
    let dPatchesOut: Matrix  // (R, p p Cout)
    let dScores: Matrix  // (T, T)
    let dScale, dShift, dFactor: Matrix  // (D)

    init(_ configuration: DiTConfiguration, images: Int, take: (Int, Int) -> Matrix) {
        let D = configuration.hiddenSize
        let R = images * configuration.tokens
        dx = take(R, D)
        dBranch = take(R, D)
        dNormed = take(R, D)
        dQKV = take(R, 3 * D)
        dHidden = take(R, 4 * D)
        dPatchesOut = take(R, configuration.patchOutSize)
        dScores = take(configuration.tokens, configuration.tokens)
        dScale = take(1, D)
        dShift = take(1, D)
        dFactor = take(1, D)
    }
}
