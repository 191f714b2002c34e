import TensorMath

/// A step of the network that makes one feature from another.
protocol AutoencoderLayer: Sendable {
    /// Reads x and, where a norm comes first, the moments of x; leaves the moments of what it makes.
    func forward(_ x: Feature, _ space: Workspace) -> Feature
}

/// A convolution by itself, behind a norm and SiLU where it ends the network of an AutoencoderKL.
struct SingleConvolution: AutoencoderLayer {
    let norm: GroupNorm?
    let convolution: ConvolutionLayer
    /// Whether a norm follows.
    let isMeasured: Bool
    /// Whether a ReLU follows.
    let isRectified: Bool

    func forward(_ x: Feature, _ space: Workspace) -> Feature {
        let activation = norm.map { norm in
            let (scale, shift) = space.fold(norm)
            return PixelActivation.scaledSilu(scale, shift: shift)
        }
        let out = space.take(convolution.output, atFront: !x.isAtFront)
        convolution.run(x, activation ?? .none, into: out, space, measured: isMeasured, rectified: isRectified)
        return out
    }
}

/// relu(x + conv4(relu(conv2(relu(conv0(x)))))), on as many channels as x has.
struct TinyBlock: AutoencoderLayer {
    let conv0, conv2: ConvolutionLayer
    /// Adds to its output.
    let conv4: ConvolutionLayer

    func forward(_ x: Feature, _ space: Workspace) -> Feature {
        let first = space.take(conv0.output, atFront: !x.isAtFront)
        let second = space.take(conv2.output, atFront: !x.isAtFront, beyond: Memory.paddedCount(conv0.output.count))
        conv0.run(x, into: first, space, rectified: true)
        conv2.run(first, into: second, space, rectified: true)
        conv4.run(second, into: x, space, rectified: true)
        return x
    }
}

/// x + conv2(silu(norm2(conv1(silu(norm1(x)))))), where a 1x1 convolution takes x to the new channels first if they differ.
struct ResnetBlock: AutoencoderLayer {
    let norm1, norm2: GroupNorm
    /// The second adds to its output.
    let conv1, conv2: ConvolutionLayer
    let convShortcut: ConvolutionLayer?

    func forward(_ x: Feature, _ space: Workspace) -> Feature {
        var out = x, used = 0
        if let convShortcut {
            out = space.take(convShortcut.output, atFront: !x.isAtFront)
            used = Memory.paddedCount(convShortcut.output.count)
        }
        let h = space.take(conv1.output, atFront: !x.isAtFront, beyond: used)
        let first = space.fold(norm1)
        conv1.run(x, .scaledSilu(first.scale, shift: first.shift), into: h, space, measured: true)
        convShortcut?.run(x, into: out, space)
        let second = space.fold(norm2)
        conv2.run(h, .scaledSilu(second.scale, shift: second.shift), into: out, space, measured: true)
        return out
    }
}

/// x + to_out(softmax(q k^T / sqrt(C)) v) over all pixels, one head, with q, k and v of the normed x.
struct MidAttention: AutoencoderLayer {
    /// Queries of one piece of work.
    static let queries = 256

    let groupNorm: GroupNorm
    let toQ, toK, toV: ConvolutionLayer
    /// Adds to its output.
    let toOut: ConvolutionLayer

    func forward(_ x: Feature, _ space: Workspace) -> Feature {
        let (scale, shift) = space.fold(groupNorm)
        let size = Memory.paddedCount(toQ.output.count)
        let (q, k, v) = (
            space.take(toQ.output, atFront: !x.isAtFront), space.take(toK.output, atFront: !x.isAtFront, beyond: size),
            space.take(toV.output, atFront: !x.isAtFront, beyond: 2 * size)
        )
        for (layer, out) in [(toQ, q), (toK, k), (toV, v)] { layer.run(x, .scaled(scale, shift: shift), into: out, space) }
        let pixels = q.values.rows
        space.group.forEach((pixels + Self.queries - 1) / Self.queries) { piece, thread in
            let rows = (piece * Self.queries)..<min(pixels, (piece + 1) * Self.queries)
            let scores = space.scratch(thread, rows: rows.count, columns: pixels)
            multiply(.plain(q.values.rows(rows)), .transposed(k.values), into: scores)  // (queries, H W)
            softmax(scores, alpha: 1 / Float(q.channels).squareRoot())
            // These queries are done with, so their rows take the result.
            multiply(.plain(scores), .plain(v.values), into: q.values.rows(rows))  // (queries, C)
        }
        toOut.run(q, into: x, space, measured: true)
        return x
    }
}

/// Every pixel becomes four, then a 3x3 convolution: computed as four 2x2 convolutions of the small image, one for each place in the
/// square of four, whose taps are the sums of the taps that fall on one pixel. The same function for four ninths of the products.
struct Upsample: AutoencoderLayer {
    private let convolutions: [Convolution]
    private let input, output: FeatureShape
    private let rows: Int
    /// Whether a norm follows.
    private let isMeasured: Bool

    init(_ weights: LayerWeights, on input: FeatureShape, isMeasured: Bool, _ needs: inout WorkspaceNeeds, _ form: WeightForm) {
        precondition(weights.kernel == 3)
        let rows = ConvolutionLayer.stripRows(height: input.height, width: input.width)
        // One column more than the image has: the border is on both sides, and each place leaves out the column of the other side.
        let shape = ConvolutionShape(
            inChannels: input.channels, outChannels: weights.outChannels, kernel: 2, rows: rows, columns: input.width + 1)
        convolutions = (0..<4).map { place in
            Convolution(shape, weight: Self.folded(weights.weight, below: place / 2, right: place % 2), bias: weights.bias, form)
        }
        self.input = input
        self.rows = rows
        self.isMeasured = isMeasured
        output = FeatureShape(height: 2 * input.height, width: 2 * input.width, channels: weights.outChannels)
        needs.include(activations: input, output)
        needs.include(strip: rows + 2, input.width + 2, input.channels, form.dtype, strips: input.height / rows)
        for convolution in convolutions { needs.include(convolution) }
        needs.scratch = max(needs.scratch, rows * (input.width + 1) * weights.outChannels)
    }

    /// The 2x2 kernels (O I, 2, 2) that one place sees of the 3x3 kernels (O I, 3, 3).
    static func folded(_ weight: [Float], below: Int, right: Int) -> [Float] {
        var out = [Float](repeating: 0, count: weight.count / 9 * 4)
        for kernel in 0..<(weight.count / 9) {
            for tap in 0..<9 {
                // Rows -1, 0, 1 of the large image lie on rows (tap + place - 1) / 2, rounded down, of the small one.
                let row = (tap / 3 + 1 - below) / 2, column = (tap % 3 + 1 - right) / 2
                out[kernel * 4 + row * 2 + column] += weight[kernel * 9 + tap]
            }
        }
        return out
    }

    func forward(_ x: Feature, _ space: Workspace) -> Feature {
        let out = space.take(output, atFront: !x.isAtFront)
        let W = input.width
        let strips = input.height / rows, pixels = 4 * rows * W
        space.group.forEach(strips) { strip, thread in
            let border = space.strip(thread, rows: rows + 2, columns: W + 2, channels: input.channels)
            border.load(x.values, width: W, from: strip * rows - 1, left: 1, .none)
            let result = space.scratch(thread, rows: rows * (W + 1), columns: output.channels)
            for (place, convolution) in convolutions.enumerated() {
                let (below, right) = (place / 2, place % 2)
                convolution.run(border.rows(from: below, count: rows + 1), into: result, scratch: space.convolutionScratch[thread])
                for row in 0..<rows {
                    let line = 2 * (strip * rows + row) + below
                    copyToEverySecond(
                        result.rows((row * (W + 1) + right)..<(row * (W + 1) + right + W)),
                        of: out.values.rows((line * 2 * W)..<((line + 1) * 2 * W)), from: right)
                }
            }
            if isMeasured { space.measure(out.values.rows((strip * pixels)..<((strip + 1) * pixels)), strip: strip, thread: thread) }
        }
        if isMeasured { space.noteMeasured(strips: strips, pixels: pixels) }
        return out
    }
}
