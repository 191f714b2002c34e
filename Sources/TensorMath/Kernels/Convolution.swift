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

/// How convolutions are computed.
package enum ConvolutionKind: Sendable, Hashable {
    /// Accumulators of matrix products, float32, on any machine.
    case plain
    /// oneDNN, weights packed for it once.
    case packed(ConvolutionElement)

    package var element: ConvolutionElement {
        switch self {
        case .plain: .float32
        case .packed(let element): element
        }
    }

    /// The best this machine has for an element: oneDNN where it is present, and bfloat16 only where the processor multiplies it.
    package static func best(for element: ConvolutionElement) -> ConvolutionKind {
        if element == .bfloat16, od_multiplies(OD_BF16) { return .packed(.bfloat16) }
        return od_multiplies(OD_F32) ? .packed(.float32) : .plain
    }
}

/// One convolution with its weights packed once, for strips of one shape. Any number of threads may run it at a time.
package struct Convolution: Sendable {
    package let shape: ConvolutionShape
    /// Whether the result is added to what the output holds.
    package let adds: Bool
    private let form: Form

    private enum Form: Sendable {
        /// A matrix (I, O) per tap, and the bias (O).
        case plain(taps: Matrix, bias: Matrix)
        case packed(PackedConvolution)
    }

    /// - Parameters:
    ///   - weight: (O, I, k, k), as PyTorch stores it.
    ///   - bias: (O).
    package init(_ shape: ConvolutionShape, weight: [Float], bias: [Float], adds: Bool = false, _ kind: ConvolutionKind) {
        precondition(weight.count == shape.weightCount && bias.count == shape.outChannels, "\(weight.count) weights for \(shape)")
        self.shape = shape
        self.adds = adds
        switch kind {
        case .plain: form = Self.plain(shape, weight, bias)
        case .packed(let element): form = .packed(PackedConvolution(shape, weight: weight, bias: bias, adds: adds, element))
        }
    }

    /// Float32 values of scratch memory that a run takes.
    package var scratchCount: Int {
        switch form {
        case .plain: 0
        case .packed(let packed): packed.scratchCount
        }
    }

    private static func plain(_ shape: ConvolutionShape, _ weight: [Float], _ bias: [Float]) -> Form {
        let (I, O, taps) = (shape.inChannels, shape.outChannels, shape.kernel * shape.kernel)
        let memory = Memory(capacity: Memory.paddedCount(shape.weightCount) + Memory.paddedCount(O))
        let matrices = memory.take(taps * I, O), biasRow = memory.take(O)
        biasRow.copy(from: bias)
        matrices.withMutableSpan { matrices in
            for o in 0..<O {
                for i in 0..<I {
                    for tap in 0..<taps { matrices[(tap * I + i) * O + o] = weight[(o * I + i) * taps + tap] }
                }
            }
        }
        memory.seal()
        return .plain(taps: matrices, bias: biasRow)
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
        switch form {
        case .packed(let packed): packed.run(input, into: out, scratch: scratch)
        case .plain(let taps, let bias):
            if !adds { out.fill(0) }
            addBias(out, bias)
            for row in 0..<shape.rows { addRow(row, of: input, taps, to: out.rows((row * shape.columns)..<((row + 1) * shape.columns))) }
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
        precondition(element == .float32, "the plain convolution reads float32")
        return unsafe Matrix(
            base: base.assumingMemoryBound(to: Float.self) + (row * columns + first) * channels, rows: count, columns: channels,
            stride: step * channels, owner: owner)
    }
}

/// A convolution in oneDNN's hands.
// @unchecked: oneDNN's object is immutable and may be run by many threads; the packed weights are read-only.
@safe private final class PackedConvolution: @unchecked Sendable {
    private let handle: OpaquePointer
    private let weights, bias: Matrix
    private let element: ConvolutionElement
    let scratchCount: Int

    init(_ shape: ConvolutionShape, weight: [Float], bias: [Float], adds: Bool, _ element: ConvolutionElement) {
        let form = od_convolution_shape(
            in_channels: shape.inChannels, out_channels: shape.outChannels, kernel: shape.kernel, stride: shape.stride, rows: shape.rows,
            columns: shape.columns, x: element == .float32 ? OD_F32 : OD_BF16, adding: adds)
        // Shapes come from a checked configuration: no memory, or a fault of ours, and no layer can say so to its caller.
        guard let handle = unsafe od_convolution_create(form) else {
            unsafe fatalError("\(String(cString: od_error())), for \(shape)")
        }
        let packed = unsafe (od_convolution_packed_bytes(handle) + 3) / 4
        let memory = Memory(capacity: Memory.paddedCount(packed) + Memory.paddedCount(bias.count))
        unsafe self.handle = handle
        self.element = element
        weights = memory.take(packed)
        self.bias = memory.take(bias.count)
        self.bias.copy(from: bias)
        scratchCount = unsafe (od_convolution_scratch_bytes(handle) + 3) / 4
        // As above.
        guard unsafe od_convolution_pack(handle, weights.base, weight) else { unsafe fatalError(String(cString: od_error())) }
        memory.seal()
    }

    deinit { unsafe od_convolution_destroy(handle) }

    func run(_ input: PaddedStrip, into out: Matrix, scratch: Matrix) {
        precondition(input.element == element, "a strip of \(input.element) for a convolution of \(element)")
        // It ran at this shape before, or never will.
        guard unsafe od_convolution_run(handle, input.base, weights.base, bias.base, out.base, scratch.base) else {
            unsafe fatalError(String(cString: od_error()))
        }
    }
}
