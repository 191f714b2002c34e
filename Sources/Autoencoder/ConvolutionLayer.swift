import TensorMath

/// A convolution over a whole image, strip by strip. The strips depend on the image's size alone, so the result has the same bytes
/// on any number of threads.
struct ConvolutionLayer: Sendable {
    private let convolution: Convolution
    let output: FeatureShape
    private let strips: Int
    private let border: Int

    /// Rows of one strip: what divides the height, eight at most, four where rows are long.
    static func stripRows(height: Int, width: Int) -> Int {
        (1...(width > 128 ? 4 : 8)).last { height % $0 == 0 } ?? 1
    }

    /// - Parameters:
    ///   - input: what it reads.
    ///   - stride: 2 halves the image.
    ///   - border: pixels of zeros above and on the left; what the kernel reads beyond the image on the right and below is zero too.
    ///   - adds: whether the result is added to what the output holds.
    init(
        _ weights: LayerWeights, on input: FeatureShape, stride: Int = 1, border: Int, adds: Bool = false, _ needs: inout WorkspaceNeeds,
        _ form: WeightForm
    ) {
        output = FeatureShape(height: input.height / stride, width: input.width / stride, channels: weights.outChannels)
        let rows = Self.stripRows(height: output.height, width: output.width)
        let shape = ConvolutionShape(
            inChannels: input.channels, outChannels: weights.outChannels, kernel: weights.kernel, stride: stride, rows: rows,
            columns: output.width)
        convolution = Convolution(shape, weight: weights.weight, bias: weights.bias, adds: adds, form)
        strips = output.height / rows
        self.border = border
        needs.include(strip: shape.inRows, shape.inColumns, input.channels, form.dtype, strips: strips)
        needs.include(convolution)
        needs.include(activations: output)
    }

    /// - Parameters:
    ///   - measured: whether a norm follows.
    ///   - rectified: whether a ReLU follows.
    func run(
        _ x: Feature, _ activation: PixelActivation = .none, into out: Feature, _ space: Workspace, measured: Bool = false, rectified: Bool = false
    ) {
        let shape = convolution.shape
        let pixels = shape.rows * shape.columns
        space.group.forEach(strips) { strip, thread in
            let input = space.strip(thread, rows: shape.inRows, columns: shape.inColumns, channels: shape.inChannels)
            input.load(x.values, width: x.width, from: strip * shape.rows * shape.stride - border, left: border, activation)
            let rows = out.values.rows((strip * pixels)..<((strip + 1) * pixels))
            convolution.run(input, into: rows, scratch: space.convolutionScratch[thread])
            if rectified { rectify(rows) }
            if measured { space.measure(rows, strip: strip, thread: thread) }
        }
        if measured { space.noteMeasured(strips: strips, pixels: pixels) }
    }
}

/// Weight (O, I, k, k) and bias (O) of a convolution, or of a linear layer as a 1x1 convolution.
struct LayerWeights {
    let weight, bias: [Float]
    let outChannels, kernel: Int
}
