import COneDNN

/// The form of a convolution over one strip: square kernel, no padding of its own (`PaddedStrip` brings the border).
package struct ConvolutionShape: Sendable, Hashable {
    package var inChannels, outChannels, kernel, stride: Int
    /// Of the output.
    package var rows, columns: Int

    package init(inChannels: Int, outChannels: Int, kernel: Int, stride: Int = 1, rows: Int, columns: Int) {
        (self.inChannels, self.outChannels, self.kernel, self.stride) = (inChannels, outChannels, kernel, stride)
        (self.rows, self.columns) = (rows, columns)
    }

    package var inRows: Int { (rows - 1) * stride + kernel }
    package var inColumns: Int { (columns - 1) * stride + kernel }
    package var weightCount: Int { outChannels * inChannels * kernel * kernel }
}

/// One convolution with its weights laid out once, for strips of one shape. Any number of threads may run it at a time.
package struct Convolution: Sendable {
    package let shape: ConvolutionShape
    /// Whether the result is added to what the output holds.
    package let adds: Bool
    /// Plain: a matrix (I, O) per tap.
    private let weights: KernelWeights<ConvolutionKernel>
    private let bias: Matrix  // (O)

    /// - Parameters:
    ///   - weight: (O, I, k, k), as PyTorch stores it.
    ///   - bias: (O).
    package init(_ shape: ConvolutionShape, weight: [Float], bias: [Float], adds: Bool = false, _ form: WeightForm) {
        precondition(weight.count == shape.weightCount && bias.count == shape.outChannels, "\(weight.count) weights for \(shape)")
        self.shape = shape
        self.adds = adds
        let kernel: ConvolutionKernel? = if case .packed(let dtype) = form { ConvolutionKernel(shape, adds: adds, dtype) } else { nil }
        let count = kernel?.packedCount ?? shape.weightCount
        let memory = Memory(capacity: Memory.paddedCount(count) + Memory.paddedCount(bias.count))
        let values = memory.take(count)
        if let kernel {
            kernel.pack(weight, into: values)
            weights = .packed(kernel, values)
        } else {
            let taps = values.reshaped(shape.weightCount / shape.outChannels, shape.outChannels)
            Self.splitTaps(weight, shape, into: taps)
            weights = .plain(.plain(taps))
        }
        self.bias = memory.take(bias.count)
        self.bias.copy(from: bias)
        memory.seal()
    }

    /// Float32 values of scratch memory that a run takes.
    package var scratchCount: Int {
        switch weights {
        case .plain: 0
        case .packed(let kernel, _): kernel.scratchCount
        }
    }

    private static func splitTaps(_ weight: [Float], _ shape: ConvolutionShape, into matrices: Matrix) {
        let (I, O, taps) = (shape.inChannels, shape.outChannels, shape.kernel * shape.kernel)
        matrices.withMutableSpan { matrices in
            for o in 0..<O {
                for i in 0..<I {
                    for tap in 0..<taps { matrices[(tap * I + i) * O + o] = weight[(o * I + i) * taps + tap] }
                }
            }
        }
    }

    /// - Parameters:
    ///   - input: `inRows` rows and `inColumns` columns.
    ///   - out: (rows columns, O), contiguous.
    ///   - scratch: this thread's, of `scratchCount` values.
    package func run(_ input: PaddedStrip, into out: Matrix, scratch: Matrix) {
        precondition(
            input.rows == shape.inRows && input.columns == shape.inColumns && input.channels == shape.inChannels,
            "a strip of \(input.rows) x \(input.columns) x \(input.channels) for \(shape)")
        precondition(out.isContiguous && out.rows == shape.rows * shape.columns && out.columns == shape.outChannels)
        precondition(scratch.count >= scratchCount)
        switch weights {
        case .packed(let kernel, let copy): kernel.run(input, copy, bias: bias, into: out, scratch: scratch)
        case .plain(let taps):
            if !adds { out.fill(0) }
            addBias(out, bias)
            for row in 0..<shape.rows { addRow(row, of: input, taps.matrix, to: out.rows((row * shape.columns)..<((row + 1) * shape.columns))) }
        }
    }

    /// A row of the output is a sum of products, one per tap: the pixels under the tap times the tap's matrix.
    private func addRow(_ row: Int, of input: PaddedStrip, _ taps: Matrix, to out: Matrix) {
        let (k, I) = (shape.kernel, shape.inChannels)
        for tap in 0..<(k * k) {
            let pixels = input.pixels(row: row * shape.stride + tap / k, from: tap % k, every: shape.stride, count: shape.columns)
            multiply(.plain(pixels), .plain(taps.rows((tap * I)..<((tap + 1) * I))), into: out, adding: true)
        }
    }
}

extension PaddedStrip {
    /// Pixels of one row, (count, C), of a strip in float32.
    fileprivate func pixels(row: Int, from first: Int, every step: Int, count: Int) -> Matrix {
        precondition(dtype == .f32, "the plain convolution reads float32")
        return unsafe Matrix(
            base: base.assumingMemoryBound(to: Float.self) + (row * columns + first) * channels, rows: count, columns: channels,
            stride: step * channels, owner: owner)
    }
}

/// A convolution in oneDNN's hands.
// @unchecked: oneDNN's object is immutable and may be run by many threads; its packed weights and scratch come with each run.
@safe private final class ConvolutionKernel: @unchecked Sendable {
    private let handle: OpaquePointer
    private let dtype: DType
    /// Float32 values of memory that the packed weights take.
    let packedCount: Int
    let scratchCount: Int

    init(_ shape: ConvolutionShape, adds: Bool, _ dtype: DType) {
        let form = od_convolution_shape(
            in_channels: shape.inChannels, out_channels: shape.outChannels, kernel: shape.kernel, stride: shape.stride, rows: shape.rows,
            columns: shape.columns, x: dtype.oneDNN, adding: adds)
        // Shapes come from a checked configuration: no memory, or a fault of ours, and no layer can say so to its caller.
        guard let handle = unsafe od_convolution_create(form) else {
            unsafe fatalError("\(String(cString: od_error())), for \(shape)")
        }
        unsafe self.handle = handle
        self.dtype = dtype
        packedCount = unsafe (od_convolution_packed_bytes(handle) + 3) / 4
        scratchCount = unsafe (od_convolution_scratch_bytes(handle) + 3) / 4
    }

    deinit { unsafe od_convolution_destroy(handle) }

    func pack(_ weight: [Float], into packed: Matrix) {
        // As above.
        guard unsafe od_convolution_pack(handle, packed.base, weight) else { unsafe fatalError(String(cString: od_error())) }
    }

    func run(_ input: PaddedStrip, _ packed: Matrix, bias: Matrix, into out: Matrix, scratch: Matrix) {
        precondition(input.dtype == dtype, "a strip of \(input.dtype) for a convolution of \(dtype)")
        // It ran at this shape before, or never will.
        guard unsafe od_convolution_run(handle, input.base, packed.base, bias.base, out.base, scratch.base) else {
            unsafe fatalError(String(cString: od_error()))
        }
    }
}
