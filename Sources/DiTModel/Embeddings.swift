import AdapterFormat
import Glibc
import TensorMath

/// What a timestep and a class do to the network: c = t-embedding + class embedding, then one modulation vector per block.
///
/// It does not depend on the image, so a server may compute the rows of all steps of a request at once. A row's bytes do
/// not depend on the other rows.
package enum Conditioning {
    /// Length of the sinusoidal timestep vector.
    package static let frequencies = 256

    /// [cos(t f_i) | sin(t f_i)], f_i = 10000^(-i / divisor), i in 0 ..< 128, in float32 (`DiT.md`, "Timestep and class").
    package static func timestepVector(_ t: Float, divisor: Float, into row: Matrix) {
        let half = frequencies / 2
        for i in 0..<half {
            let frequency = expf(-logf(10000) * Float(i) / divisor)
            row[0, i] = cosf(t * frequency)
            row[0, half + i] = sinf(t * frequency)
        }
    }

    /// Forward for `classes.count` rows of `state`.
    /// - Parameters:
    ///   - first: the first of these rows.
    ///   - times: t per row, as the embedder takes it.
    ///   - classes: row of the class table, per row.
    ///   - tunables: the domain of each row.
    package static func forward(
        _ state: ConditioningState, from first: Int = 0, times: [Float], classes: [Int], tunables: [Tunables], weights: Weights, preset: Preset,
        group: ThreadGroup = .solo
    ) {
        let rows = first..<(first + classes.count)
        let hidden = state.hidden.rows(rows)
        let activated = state.activated.rows(rows)
        let timeEmbedding = state.timeEmbedding.rows(rows)
        let siluC = state.siluC.rows(rows)
        for (r, time) in zip(rows, times) { timestepVector(time, divisor: preset.frequencyDivisor, into: state.sinusoids.row(r)) }
        linearRows(state.sinusoids.rows(rows), weight: weights.tEmbedder0, into: hidden)
        for (i, tunable) in tunables.enumerated() { addBias(hidden.row(i), tunable.tEmbedder0Bias) }
        silu(hidden, into: activated)
        linearRows(activated, weight: weights.tEmbedder2, into: timeEmbedding)
        for (i, tunable) in tunables.enumerated() {
            addBias(timeEmbedding.row(i), tunable.tEmbedder2Bias)
            let c = state.c.row(first + i)
            c.copy(from: timeEmbedding.row(i))
            add(tunable.classTable.row(classes[i]), to: c)
        }
        silu(state.c.rows(rows), into: siluC)
        let depth = weights.modulations.count
        group.forEach(depth + 1) { block, _ in
            let out = (block < depth ? state.block(block) : state.final).rows(rows)
            linearRows(siluC, weight: block < depth ? weights.modulations[block] : weights.finalModulation, into: out)
            for (i, tunable) in tunables.enumerated() {
                addBias(out.row(i), block < depth ? tunable.blocks[block].modulationBias : tunable.finalModulationBias)
            }
        }
    }

    /// Backward pass from `dBlock` and `dFinal` to the embedders, summed over the rows into the gradients.
    /// - Parameter weightGradients: nil leaves the matrices alone.
    package static func backward(
        _ state: ConditioningState, rows: Int, classes: [Int], tunables: Tunables, weights: Weights, gradients: Tunables,
        weightGradients: Weights?
    ) {
        let span = 0..<rows
        let siluC = state.siluC.rows(span)
        let dC = state.dC.rows(span)
        func layer(_ dOut: Matrix, _ weight: Matrix, _ bias: Matrix, _ dWeight: Matrix?, adding: Bool) {
            addColumnSums(of: dOut, to: bias)
            multiply(.plain(dOut), .plain(weight), into: dC, adding: adding)
            if let dWeight { multiply(.transposed(dOut), .plain(siluC), into: dWeight, adding: true) }
        }
        layer(
            state.dFinal.rows(span), weights.finalModulation, gradients.finalModulationBias, weightGradients?.finalModulation,
            adding: false)
        for i in weights.modulations.indices {
            layer(
                state.dBlock(i).rows(span), weights.modulations[i], gradients.blocks[i].modulationBias,
                weightGradients?.modulations[i], adding: true)
        }
        siluBackward(dC, x: state.c.rows(span), dx: dC)
        for (r, y) in classes.enumerated() { add(dC.row(r), to: gradients.classTable.row(y)) }

        let activated = state.activated.rows(span)
        let dHidden = state.dHidden.rows(span)
        addColumnSums(of: dC, to: gradients.tEmbedder2Bias)
        if let g = weightGradients { multiply(.transposed(dC), .plain(activated), into: g.tEmbedder2, adding: true) }
        multiply(.plain(dC), .plain(weights.tEmbedder2), into: dHidden)
        siluBackward(dHidden, x: state.hidden.rows(span), dx: dHidden)
        addColumnSums(of: dHidden, to: gradients.tEmbedder0Bias)
        if let g = weightGradients { multiply(.transposed(dHidden), .plain(state.sinusoids.rows(span)), into: g.tEmbedder0, adding: true) }
    }
}

/// The values of `Conditioning` for up to `rows` rows, and their gradients where the plan has them.
package struct ConditioningState: Sendable {
    package let sinusoids: Matrix  // (rows, 256)
    package let hidden, activated: Matrix  // (rows, D)
    /// The timestep embedding before the class is added.
    package let timeEmbedding: Matrix  // (rows, D)
    package let c, siluC: Matrix  // (rows, D)
    private let blocks: [Matrix]  // each (rows, 6D): shift, scale, gate of the attention branch, then of the MLP branch
    package let final: Matrix  // (rows, 2D): shift, scale
    package let dC, dHidden: Matrix  // (rows, D)
    private let dBlocks: [Matrix]
    package let dFinal: Matrix

    package init(_ configuration: DiTConfiguration, rows: Int, backward: Bool = false) {
        let capacity = ConditioningState.capacity(configuration, rows: rows, backward: backward)
        self.init(configuration, rows: rows, backward: backward, in: Memory(capacity: capacity))
    }

    private static func capacity(_ configuration: DiTConfiguration, rows: Int, backward: Bool) -> Int {
        let D = configuration.hiddenSize
        let p = Memory.paddedCount
        let modulation = configuration.depth * p(rows * 6 * D) + p(rows * 2 * D)
        return p(rows * Conditioning.frequencies) + 7 * p(rows * D) + modulation * (backward ? 2 : 1)
    }

    private init(_ configuration: DiTConfiguration, rows: Int, backward: Bool, in memory: Memory) {
        let D = configuration.hiddenSize
        sinusoids = memory.take(rows, Conditioning.frequencies)
        hidden = memory.take(rows, D)
        activated = memory.take(rows, D)
        timeEmbedding = memory.take(rows, D)
        c = memory.take(rows, D)
        siluC = memory.take(rows, D)
        dC = memory.take(rows, D)
        dHidden = memory.take(rows, D)
        blocks = (0..<configuration.depth).map { _ in memory.take(rows, 6 * D) }
        final = memory.take(rows, 2 * D)
        dBlocks = backward ? (0..<configuration.depth).map { _ in memory.take(rows, 6 * D) } : []
        dFinal = backward ? memory.take(rows, 2 * D) : final
    }

    package func block(_ i: Int) -> Matrix { blocks[i] }
    package func dBlock(_ i: Int) -> Matrix { dBlocks[i] }
}

/// Where an image becomes tokens: its patches times the embedder's matrix, plus the positions; always in float32.
struct PatchEmbed: Sendable {
    private let configuration: DiTConfiguration
    private let projection: Matrix  // (D, C p p)
    private let positions: Matrix  // (T, D)

    init(_ configuration: DiTConfiguration, weights: Weights, positionScale: Double = 1) {
        let memory = Memory(capacity: Memory.paddedCount(configuration.tokens * configuration.hiddenSize))
        self.configuration = configuration
        projection = weights.xEmbedder
        positions = memory.take(configuration.tokens, configuration.hiddenSize)
        positions.copy(from: configuration.positions(scale: positionScale))
        memory.seal()
    }

    /// One image (C S S) to tokens (T, D), by way of its patches (T, C p p).
    func forward(_ image: Matrix, bias: Matrix, patches: Matrix, into tokens: Matrix) {
        Patches.cut(image, configuration, into: patches)
        multiply(.plain(patches), .transposed(projection), into: tokens)  // (T, D)
        addBias(tokens, bias)
        add(positions, to: tokens)
    }

    /// From the gradient of one image's tokens (T, D) to that of the image (C S S).
    /// - Parameter patches: scratch, (T, C p p).
    func backward(_ dTokens: Matrix, patches: Matrix, into dImage: Matrix) {
        multiply(.plain(dTokens), .plain(projection), into: patches)
        Patches.paste(patches, configuration, into: dImage)
    }
}

/// Images to tokens and back (`DiT.md`, "Patches" and "Final layer").
package enum Patches {
    /// Cuts one image [C, S, S] into (T, C p p): channel slowest, then row, then column of the patch.
    static func cut(_ image: Matrix, _ configuration: DiTConfiguration, into patches: Matrix) {
        image.withSpan { image in
            patches.withMutableSpan { patches in
                forEachInput(configuration) { patches[$0] = image[$1] }
            }
        }
    }

    /// The transpose of `cut`, for gradients.
    static func paste(_ patches: Matrix, _ configuration: DiTConfiguration, into image: Matrix) {
        patches.withSpan { patches in
            image.withMutableSpan { image in
                forEachInput(configuration) { image[$1] = patches[$0] }
            }
        }
    }

    /// Lays (T, p p Cout) out as one image [Cout, S, S]; in a patch the channel is fastest.
    static func join(_ patches: Matrix, _ configuration: DiTConfiguration, into image: Matrix) {
        patches.withSpan { patches in
            image.withMutableSpan { image in
                forEachOutput(configuration) { image[$1] = patches[$0] }
            }
        }
    }

    /// The transpose of `join`, for gradients.
    static func split(_ image: Matrix, _ configuration: DiTConfiguration, into patches: Matrix) {
        image.withSpan { image in
            patches.withMutableSpan { patches in
                forEachOutput(configuration) { patches[$0] = image[$1] }
            }
        }
    }

    private static func forEachInput(_ configuration: DiTConfiguration, _ body: (_ patchIndex: Int, _ imageIndex: Int) -> Void) {
        let S = configuration.inputSize
        let p = configuration.patchSize
        let G = configuration.gridSize
        var at = 0
        for row in 0..<G {
            for column in 0..<G {
                for channel in 0..<configuration.inChannels {
                    for i in 0..<p {
                        let line = (channel * S + row * p + i) * S + column * p
                        for j in 0..<p {
                            body(at, line + j)
                            at += 1
                        }
                    }
                }
            }
        }
    }

    private static func forEachOutput(_ configuration: DiTConfiguration, _ body: (_ patchIndex: Int, _ imageIndex: Int) -> Void) {
        let S = configuration.inputSize
        let p = configuration.patchSize
        let G = configuration.gridSize
        var at = 0
        for row in 0..<G {
            for column in 0..<G {
                for i in 0..<p {
                    for j in 0..<p {
                        for channel in 0..<configuration.outChannels {
                            body(at, (channel * S + row * p + i) * S + column * p + j)
                            at += 1
                        }
                    }
                }
            }
        }
    }
}
