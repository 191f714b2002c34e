import AdapterFormat
import TensorMath

/// The diffusion transformer as training runs it: forward keeping what backward needs, one domain for all images.
///
/// It holds no bias and no gamma: those come as `Tunables`. The forward pass reads like the reference's: embed, blocks, final
/// layer; `Conditioning` has computed the modulation of every block beforehand. Sampling runs an `InferenceDiT` made of it.
package struct DiT: Sendable {
    package let configuration: DiTConfiguration
    package let weights: Weights
    package let preset: Preset
    /// What the coordinates of the positions were divided by.
    package let positionScale: Double
    /// The blocks' own matrices, as they are multiplied by.
    let layers: [BlockLayers<LayerMatrix>]
    let layerNeed: LayerScratch.Need?
    private let patchEmbed: PatchEmbed
    private let finalLayer: FinalLayer

    package init(_ configuration: DiTConfiguration, weights: Weights, preset: Preset = .original, positionScale: Double = 1) {
        guard let layers = weights.layers else { preconditionFailure("the layers are held packed") }
        self.init(configuration, weights, layers.map { $0.map(LayerMatrix.init) }, nil, preset: preset, positionScale: positionScale)
    }

    private init(
        _ configuration: DiTConfiguration, _ weights: Weights, _ layers: [BlockLayers<LayerMatrix>], _ need: LayerScratch.Need?, preset: Preset,
        positionScale: Double
    ) {
        self.configuration = configuration
        self.weights = weights
        self.layers = layers
        layerNeed = need
        self.preset = preset
        self.positionScale = positionScale
        patchEmbed = PatchEmbed(configuration, weights: weights, positionScale: positionScale)
        finalLayer = FinalLayer(configuration, weights: weights)
    }

    /// A network for training whose blocks' matrices are packed as they come, so that no second copy of them stays in memory.
    /// - Parameters:
    ///   - precision: f32 or bf16.
    ///   - route: the middle blocks that only a part of the tokens will go through, where there are such.
    ///   - trainedImages: images of the passes that gradients of the matrices will be taken over, up to so many; 0 where they are frozen.
    ///   - find: the matrix of each reference name and shape.
    package init(
        packing configuration: DiTConfiguration, at precision: Precision, preset: Preset = .original, positionScale: Double = 1,
        route: TokenRoute? = nil, trainedImages: Int = 0, find: (_ name: String, _ rows: Int, _ columns: Int) throws -> Matrix
    ) throws {
        let form = WeightForm(precision.dtype(isMLPOutput: false))
        let packer = WeightPacker(heights: [Tiles(tokens: configuration.tokens).rows] + (route.map { [$0.kept] } ?? []))
        let trainedRows = [configuration.tokens, route?.kept].compactMap { $0 }.flatMap { tokens in (0..<trainedImages).map { ($0 + 1) * tokens } }
        var packed: [String: LayerMatrix] = [:]
        let weights = try Weights(configuration) { name, rows, columns in
            let matrix = try find(name, rows, columns)
            guard Weights.layer(name) != nil else { return matrix }
            packed[name] = try LayerMatrix(matrix, form, with: packer, trainedRows: trainedRows)
            return nil
        }
        self.init(
            configuration, weights, BlockLayers.blocks(of: configuration, packed), LayerScratch.Need(form, packer, trainsMatrices: trainedImages > 0),
            preset: preset, positionScale: positionScale
        )
    }

    /// This network packed for training, as above.
    package func packed(at precision: Precision, route: TokenRoute? = nil, trainedImages: Int = 0) throws -> DiT {
        let matrix = weights.finder(configuration)
        return try DiT(
            packing: configuration, at: precision, preset: preset, positionScale: positionScale, route: route, trainedImages: trainedImages
        ) { name, _, _ in matrix(name) }
    }

    /// Packs the blocks' matrices anew, as they lie in `other` by now.
    package func repack(from other: DiT, pool: ThreadPool) {
        guard let plain = other.weights.layers else { preconditionFailure("the layers are held packed") }
        let linears = LowRank.Linear.allCases
        pool.forEach(layers.count * linears.count) { index in
            let (block, linear) = (index / linears.count, linears[index % linears.count])
            layers[block][linear].repack(plain[block][linear])
        }
    }

    /// The same frozen matrices for images of another size: nothing but the positions differs.
    package func resized(to inputSize: Int, positionScale: Double) -> DiT {
        var resized = configuration
        resized.inputSize = inputSize
        return DiT(resized, weights, layers, layerNeed, preset: preset, positionScale: positionScale)
    }

    /// The network for an adapter's images.
    /// - Parameter grid: nil is this network's own.
    package func fitting(_ grid: ImageGrid?) -> DiT { grid.map { resized(to: $0.size, positionScale: $0.positionScale) } ?? self }

    /// The forward pass over these images, keeping what the backward pass needs.
    /// - Parameters:
    ///   - x: (images, C S S).
    ///   - conditioning: a row per image.
    ///   - tunables: the one domain in training.
    ///   - kept: tokens per image that go through the routed blocks of a pass with a route.
    ///   - out: (images, Cout S S).
    package func forward(
        _ pass: Pass, x: Matrix, conditioning: ConditioningState, tunables: Tunables, kept: [[Int]] = [], into out: Matrix
    ) {
        let a = pass.activations
        let tokens = forward(pass, x: x, conditioning: conditioning, tunables: tunables, kept: kept, blocks: layers.count)
        for image in 0..<out.rows {
            let rows = pass.shape.rows(ofImage: image)
            finalLayer.forward(
                tokens.rows(rows), modulation: conditioning.final.row(image), bias: tunables.finalLinearBias, a.lastLayer(image, rows),
                into: out.row(image))
        }
    }

    /// The tokens as they leave the first blocks, (images T, D), with what the way back needs kept in the pass.
    /// - Parameter blocks: how many.
    @discardableResult package func forward(
        _ pass: Pass, x: Matrix, conditioning: ConditioningState, tunables: Tunables, kept: [[Int]] = [], blocks: Int
    ) -> Matrix {
        let a = pass.activations
        for image in 0..<x.rows {
            let rows = pass.shape.rows(ofImage: image)
            patchEmbed.forward(x.row(image), bias: tunables.xEmbedderBias, patches: a.patches.rows(rows), into: a.input(ofBlock: 0).rows(rows))
        }
        for i in layers.indices.prefix(blocks) {
            if let route = a.routed?.route, i == route.blocks.lowerBound { route.gather(a.input(ofBlock: i), kept, into: a.blocks[i].x) }
            TransformerBlock.forward(
                a.blocks[i], block: i, layers: layers[i], tunables: tunables, conditioning: conditioning, shape: pass.shape(ofBlock: i),
                scores: pass.scores(ofBlock: i), scratch: a.layerScratch, lowRank: a.lowRank, into: a.output(ofBlock: i))
            if let routed = a.routed, i + 1 == routed.route.blocks.upperBound {
                a.input(ofBlock: i + 1).copy(from: routed.full)
                routed.route.scatter(routed.out, kept, into: a.input(ofBlock: i + 1))
            }
        }
        return a.input(ofBlock: blocks)
    }

    /// The backward pass, after `forward` of the same pass: adds to the gradients.
    /// - Parameters:
    ///   - dOut: (images, Cout S S), the gradient of what `forward` wrote.
    ///   - classes: as given to the conditioning.
    ///   - tunables: the one domain in training.
    ///   - dInput: (images, C S S), overwritten with the gradient of what `forward` was shown; nil leaves it out.
    package func backward(
        _ pass: Pass, dOut: Matrix, conditioning: ConditioningState, classes: [Int], tunables: Tunables, kept: [[Int]] = [],
        gradients: Tunables, weightGradients: Weights?, dInput: Matrix? = nil
    ) {
        finalLayerBackward(pass, dOut: dOut, conditioning: conditioning, scratch: pass.scratch, gradients: gradients, weightGradients)
        blocksBackward(
            pass, blocks: layers.count, conditioning: conditioning, tunables: tunables, kept: kept, gradients: gradients, weightGradients,
            dInput: dInput)
        precondition(pass.scratch.dx.rows == pass.shape.images * configuration.tokens)
        Conditioning.backward(
            conditioning, rows: pass.shape.images, classes: classes, tunables: tunables, weights: weights, gradients: gradients,
            weightGradients: weightGradients)
    }

    /// The way back of a loss on the tokens that `forward` gave behind so many blocks, to the images: what a loss through a frozen
    /// network needs.
    /// - Parameters:
    ///   - dTokens: (images T, D).
    ///   - gradients: scratch, added to.
    ///   - dInput: (images, C S S), overwritten.
    package func backward(
        _ pass: Pass, dTokens: Matrix, blocks: Int, conditioning: ConditioningState, tunables: Tunables, gradients: Tunables, dInput: Matrix
    ) {
        pass.scratch.dx.copy(from: dTokens)
        blocksBackward(
            pass, blocks: blocks, conditioning: conditioning, tunables: tunables, kept: [], gradients: gradients, nil, dInput: dInput)
    }

    /// From the gradient of the residual stream behind the first blocks to that of the images.
    private func blocksBackward(
        _ pass: Pass, blocks: Int, conditioning: ConditioningState, tunables: Tunables, kept: [[Int]], gradients: Tunables,
        _ weightGradients: Weights?, dInput: Matrix?
    ) {
        let (a, s) = (pass.activations, pass.scratch)
        for i in layers.indices.prefix(blocks).reversed() {
            // A token that passed by has the gradient that it had behind the route.
            if let routed = a.routed, i + 1 == routed.route.blocks.upperBound { routed.route.gather(s.dx, kept, into: routed.dx) }
            BlockBackward(
                a: a.blocks[i], layers: layers[i], tunables: tunables.blocks[i], modulation: conditioning.block(i), dModulation: conditioning.dBlock(i),
                shape: pass.shape(ofBlock: i), s: pass.scratch(ofBlock: i), scores: pass.scores(ofBlock: i), layerScratch: a.layerScratch,
                lowRank: a.lowRank, gradients: gradients.blocks[i], weightGradients: weightGradients?.layers?[i]
            ).run()
            if let routed = a.routed, i == routed.route.blocks.lowerBound { routed.route.scatter(routed.dx, kept, into: s.dx) }
        }
        addColumnSums(of: s.dx, to: gradients.xEmbedderBias)
        if let g = weightGradients { multiply(.transposed(s.dx), .plain(a.patches), into: g.xEmbedder, adding: true) }
        if let dInput {
            for image in 0..<dInput.rows {
                let rows = pass.shape.rows(ofImage: image)
                patchEmbed.backward(s.dx.rows(rows), patches: a.patches.rows(rows), into: dInput.row(image))
            }
        }
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

/// Which public implementation's function of the weights is computed (`DiT.md`, "Two implementations").
package enum Preset: String, Sendable, Codable, CaseIterable {
    /// facebookresearch/DiT, the function the weights were trained as.
    case original
    /// huggingface/diffusers: other timestep frequencies, another epsilon before the MLP, one more guided channel.
    case diffusers

    /// What a base's card says; the original where it says nothing.
    package init(_ card: BaseCard) { self = card.preset.flatMap(Preset.init(rawValue:)) ?? .original }

    /// Divisor i / d in the timestep frequencies.
    package var frequencyDivisor: Float { self == .original ? 128 : 127 }
    package var mlpNormEpsilon: Float { self == .original ? 1e-6 : 1e-5 }

    /// Latent channels that guidance acts on, of `channels`: the original leaves the fourth alone.
    package func guidedChannels(of channels: Int) -> Int { self == .original ? min(3, channels) : channels }
}

/// Where tokens become an image again: a modulated norm and a linear layer; always in float32.
struct FinalLayer: Sendable {
    private let configuration: DiTConfiguration
    private let linear: Matrix  // (p p Cout, D)
    private let ones, zeros: Matrix  // (D), its norm has no affine part

    init(_ configuration: DiTConfiguration, weights: Weights) {
        let D = configuration.hiddenSize
        let memory = Memory(capacity: 2 * Memory.paddedCount(D))
        self.configuration = configuration
        linear = weights.finalLinear
        ones = memory.take(D)
        zeros = memory.take(D)
        ones.fill(1)
        memory.seal()
    }

    /// The memory of one image's pass.
    struct Workspace {
        let scale, shift: Matrix  // (D)
        let normed: Matrix  // (T, D)
        let mean, rstd: Matrix  // (T)
        let patches: Matrix  // (T, p p Cout)
    }

    /// Tokens (T, D) to one image (Cout S S).
    /// - Parameter modulation: (2D), shift then scale.
    func forward(_ tokens: Matrix, modulation: Matrix, bias: Matrix, _ space: Workspace, into image: Matrix) {
        let D = configuration.hiddenSize
        foldModulation(
            weight: ones, bias: zeros, scale: modulation.values(D..<(2 * D)), shift: modulation.values(0..<D), into: space.scale, space.shift)
        normModulate(
            tokens, scale: space.scale, shift: space.shift, epsilon: TransformerBlock.normEpsilon, into: space.normed, mean: space.mean,
            rstd: space.rstd)
        multiply(.plain(space.normed), .transposed(linear), into: space.patches)  // (T, p p Cout)
        addBias(space.patches, bias)
        Patches.join(space.patches, configuration, into: image)
    }
}

/// Routing of a part of the tokens around middle blocks while training (TREAD, arXiv 2501.04765): those blocks see `kept` tokens
/// of each image; the others pass by unchanged and are put back in their places behind them. No parameter is added.
package struct TokenRoute: Sendable, Hashable {
    /// The blocks that only the kept tokens go through.
    package let blocks: Range<Int>
    /// Tokens of an image that go through them.
    package let kept: Int

    package init(blocks: Range<Int>, kept: Int) {
        precondition(!blocks.isEmpty && kept > 0, "a route around blocks \(blocks) that keeps \(kept) tokens")
        self.blocks = blocks
        self.kept = kept
    }

    /// The kept rows of each image's tokens, one image after the other.
    /// - Parameters:
    ///   - tokens: (images T, D).
    ///   - indices: kept tokens per image, ascending.
    ///   - part: (images kept, D).
    func gather(_ tokens: Matrix, _ indices: [[Int]], into part: Matrix) {
        forEachKept(indices, of: tokens) { full, short in part.row(short).copy(from: tokens.row(full)) }
    }

    /// Puts the kept rows back among all: the transpose of `gather`.
    func scatter(_ part: Matrix, _ indices: [[Int]], into tokens: Matrix) {
        forEachKept(indices, of: tokens) { full, short in tokens.row(full).copy(from: part.row(short)) }
    }

    private func forEachKept(_ indices: [[Int]], of tokens: Matrix, _ body: (_ full: Int, _ short: Int) -> Void) {
        let T = tokens.rows / indices.count
        for (image, list) in indices.enumerated() {
            precondition(list.count == kept, "\(list.count) tokens where \(kept) are kept")
            for (place, token) in list.enumerated() { body(image * T + token, image * kept + place) }
        }
    }
}

/// A route and its memory: the tokens on both sides of it.
struct RouteActivations: Sendable {
    let route: TokenRoute
    /// All tokens as they enter the first routed block.
    let full: Matrix  // (R, D)
    /// The kept ones as they leave the last.
    let out: Matrix  // (R', D)
    /// Their gradient.
    let dx: Matrix  // (R', D)
}

extension BackwardScratch {
    /// The same memory for the fewer rows of a routed block, with a gradient of their own.
    func routed(dx: Matrix, tokens: Int) -> BackwardScratch {
        let rows = 0..<dx.rows
        return BackwardScratch(
            dx: dx, dBranch: dBranch.rows(rows), dNormed: dNormed.rows(rows), dQKV: dQKV.rows(rows), dHidden: dHidden.rows(rows),
            dPatchesOut: dPatchesOut, dScores: dScores.square(tokens), dScale: dScale, dShift: dShift, dFactor: dFactor)
    }
}

extension Matrix {
    /// The first values as a matrix of this side.
    func square(_ side: Int) -> Matrix { values(0..<(side * side)).reshaped(side, side) }
}
