import AdapterFormat
import TensorMath

/// What a training pass keeps of the forward pass.
package enum SavedActivations: Sendable {
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

    /// What a layer was multiplied by, (R, inputs), where the inputs of matrices are kept.
    package func input(of linear: LowRank.Linear) -> Matrix {
        switch linear {
        case .qkv: normed1
        case .proj: attended
        case .fc1: normed2
        case .fc2: activated
        }
    }

    func folded(_ image: Int) -> FoldedVectors {
        FoldedVectors(
            scale1: scale1.row(image), shift1: shift1.row(image), factor1: factor1.row(image), scale2: scale2.row(image),
            shift2: shift2.row(image), factor2: factor2.row(image))
    }
}

/// The memory plan of a pass over `images` images: every value of the network in the forward pass.
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
    let lowRank: Matrix  // (R, slice of a rank)
    let layerScratch: LayerScratch
    /// The blocks that only a part of the tokens goes through, where there are such.
    let routed: RouteActivations?

    /// Builds the plan.
    init(_ model: DiT, images: Int, saved: SavedActivations, route: TokenRoute?, take: (Int, Int) -> Matrix) {
        let configuration = model.configuration
        let D = configuration.hiddenSize
        let R = images * configuration.tokens
        let keepsInputs = saved == .all
        self.images = images
        patches = take(R, configuration.patchInSize)
        // Scratch that all blocks may share.
        let normed = take(R, D)
        let qkv = take(R, 3 * D)
        let attended = take(R, D)
        let activated = take(R, 4 * D)
        func stats(_ rows: Int) -> Matrix { take(1, rows) }
        blocks = (0..<configuration.depth).map { i in
            let R = route.map { $0.blocks.contains(i) ? images * $0.kept : R } ?? R
            let vectors = (0..<6).map { _ in take(images, D) }
            return BlockActivations(
                x: take(R, D), normed1: keepsInputs ? take(R, D) : normed.rows(0..<R), mean1: stats(R), rstd1: stats(R),
                qkvBeforeGamma: take(R, 3 * D), qkv: qkv.rows(0..<R), attended: keepsInputs ? take(R, D) : attended.rows(0..<R),
                projected: take(R, D), x1: take(R, D), normed2: keepsInputs ? take(R, D) : normed.rows(0..<R), mean2: stats(R),
                rstd2: stats(R), hidden: take(R, 4 * D), activated: keepsInputs ? take(R, 4 * D) : activated.rows(0..<R), mlpOut: take(R, D),
                scale1: vectors[0], shift1: vectors[1], factor1: vectors[2],
                scale2: vectors[3], shift2: vectors[4], factor2: vectors[5])
        }
        last = take(R, D)
        lastNormed = normed
        lastMean = stats(R)
        lastRstd = stats(R)
        lastScale = take(images, D)
        lastShift = take(images, D)
        patchesOut = take(R, configuration.patchOutSize)
        scores = take(configuration.tokens, configuration.tokens)
        lowRank = take(R, LowRankPair.sliceRank)
        layerScratch = LayerScratch(values: R * 4 * D, model.layerNeed, take: take)
        routed = route.map { route in
            RouteActivations(route: route, full: take(R, D), out: take(images * route.kept, D), dx: take(images * route.kept, D))
        }
    }

    func lastLayer(_ image: Int, _ rows: Range<Int>) -> FinalLayer.Workspace {
        FinalLayer.Workspace(
            scale: lastScale.row(image), shift: lastShift.row(image), normed: lastNormed.rows(rows), mean: lastMean.values(rows),
            rstd: lastRstd.values(rows), patches: patchesOut.rows(rows))
    }

    /// Where all tokens lie as they enter block i; the tokens of a routed block are gathered from there.
    func input(ofBlock i: Int) -> Matrix {
        guard let routed, i == routed.route.blocks.lowerBound else { return i < blocks.count ? blocks[i].x : last }
        return routed.full
    }

    /// Where block i writes.
    func output(ofBlock i: Int) -> Matrix {
        guard let routed, i + 1 == routed.route.blocks.upperBound else { return input(ofBlock: i + 1) }
        return routed.out
    }
}

/// The memory of the backward pass that is not gradients: one set, shared by all blocks.
struct BackwardScratch: Sendable {
    let dx: Matrix  // (R, D), the gradient of the residual stream
    let dBranch: Matrix  // (R, D)
    let dNormed: Matrix  // (R, D)
    let dQKV: Matrix  // (R, 3D)
    let dHidden: Matrix  // (R, 4D)
    let dPatchesOut: Matrix  // (R, p p Cout)
    let dScores: Matrix  // (T, T)
    let dScale, dShift, dFactor: Matrix  // (D)
}

extension BackwardScratch {
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

/// The memory of one training pass: taken once, used again for every step.
package struct Pass: Sendable {
    package let shape: PassShape
    package let activations: Activations
    let scratch: BackwardScratch
    private let routedShape: PassShape
    private let memory: Memory

    /// A pass for each count of images from 1 to `images`, all over the memory of the largest.
    /// - Parameter route: middle blocks that only a part of the tokens goes through.
    package static func views(
        _ model: DiT, upTo images: Int, saved: SavedActivations, route: TokenRoute? = nil
    ) -> [Pass] {
        let memory = Memory(capacity: capacity(model, images: images, saved: saved, route: route))
        return (1...images).map { Pass(model, images: $0, saved: saved, route: route, memory: Memory(sharing: memory)) }
    }

    private init(_ model: DiT, images: Int, saved: SavedActivations, route: TokenRoute?, memory: Memory) {
        let shape = PassShape(model.configuration, images: images, preset: model.preset)
        self.shape = shape
        routedShape = route.map { shape.keeping(tokens: $0.kept) } ?? shape
        activations = Activations(model, images: images, saved: saved, route: route, take: memory.take)
        scratch = BackwardScratch(model.configuration, images: images, take: memory.take)
        self.memory = memory
    }

    private static func capacity(_ model: DiT, images: Int, saved: SavedActivations, route: TokenRoute?) -> Int {
        Memory.count { memory in
            _ = Activations(model, images: images, saved: saved, route: route, take: memory.take)
            _ = BackwardScratch(model.configuration, images: images, take: memory.take)
        }
    }

    private func isRouted(_ block: Int) -> Bool { activations.routed?.route.blocks.contains(block) ?? false }

    func shape(ofBlock i: Int) -> PassShape { isRouted(i) ? routedShape : shape }

    func scores(ofBlock i: Int) -> Matrix { isRouted(i) ? activations.scores.square(routedShape.tokens) : activations.scores }

    func scratch(ofBlock i: Int) -> BackwardScratch {
        guard let routed = activations.routed, isRouted(i) else { return scratch }
        return scratch.routed(dx: routed.dx, tokens: routedShape.tokens)
    }

    /// Bytes of the plan.
    package var bytes: Int { memory.capacity * 4 }
}

/// The rows of a training pass, R = images x T, all in one matrix product.
package struct PassShape: Sendable {
    package let images: Int
    package let tokens: Int
    package let heads: Int
    let mlpNormEpsilon: Float

    init(_ configuration: DiTConfiguration, images: Int, preset: Preset) {
        self.init(images: images, tokens: configuration.tokens, heads: configuration.numHeads, mlpNormEpsilon: preset.mlpNormEpsilon)
    }

    private init(images: Int, tokens: Int, heads: Int, mlpNormEpsilon: Float) {
        self.images = images
        self.tokens = tokens
        self.heads = heads
        self.mlpNormEpsilon = mlpNormEpsilon
    }

    /// The same images with fewer tokens each.
    func keeping(tokens: Int) -> PassShape { PassShape(images: images, tokens: tokens, heads: heads, mlpNormEpsilon: mlpNormEpsilon) }

    func rows(ofImage image: Int) -> Range<Int> { (image * tokens)..<((image + 1) * tokens) }
}
