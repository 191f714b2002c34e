/// How frozen weights are computed with.
package enum WeightForm: Sendable, Hashable {
    /// float32 as they lie, multiplied by the BLAS, which packs at each call; on any machine.
    case plain
    /// Copied once into the layout of kernels that take inputs of this element type: oneDNN's, or `TileWeights`.
    case packed(DType)

    /// For inputs of an element type: float32 is computed plain where this build or processor has no kernel for it.
    package init(_ dtype: DType) { self = dtype == .f32 && !dtype.isMultipliedPacked ? .plain : .packed(dtype) }

    /// As above, and float32 in place of a type that this processor has no instructions for.
    package static func best(for dtype: DType) -> WeightForm { WeightForm(dtype.isMultipliedPacked ? dtype : .f32) }

    /// The element type of the inputs.
    package var dtype: DType {
        switch self {
        case .plain: .f32
        case .packed(let dtype): dtype
        }
    }
}

/// Weights in one of the two forms, with what computes with them.
enum KernelWeights<Kernel: Sendable>: Sendable {
    case plain(Factor)
    case packed(Kernel, Matrix)

    /// The same packed copy, read by another kernel.
    func read(by kernel: Kernel) -> KernelWeights {
        switch self {
        case .plain: self
        case .packed(_, let copy): .packed(kernel, copy)
        }
    }

    /// Another packed copy, read by the same kernel.
    func reading(_ copy: Matrix) -> KernelWeights {
        switch self {
        case .plain: self
        case .packed(let kernel, _): .packed(kernel, copy)
        }
    }
}

/// One kernel per height of tiles, all over one packed copy.
typealias GEMMWeights = KernelWeights<[GEMMKernel]>

extension GEMMWeights {
    /// The element type of the rows that they multiply.
    var dtype: DType {
        switch self {
        case .plain: .f32
        case .packed(let kernels, _): kernels[0].dtype
        }
    }

    /// out = x times the weights, tile by tile: the first kernel whose height divides the rows.
    /// - Parameters:
    ///   - x: (rows, inputs).
    ///   - out: (rows, outputs); 32-bit integers where x is in bytes.
    ///   - scratch: of the kernels.
    func multiply(_ x: QuantizedMatrix, into out: Matrix, scratch: Matrix) {
        switch self {
        case .plain(let w): TensorMath.multiply(.plain(x.matrix), w, into: out)
        case .packed(let kernels, let copy):
            guard let kernel = kernels.first(where: { x.rows.isMultiple(of: $0.rows) }) else {
                preconditionFailure("\(x.rows) rows are no whole number of tiles of \(kernels.map(\.rows))")
            }
            precondition(
                x.dtype == kernel.dtype && !x.isTiled && x.stride == x.columns && out.isContiguous && x.rows == out.rows && x.columns == kernel.inputs
                    && out.columns == kernel.outputs, "\(x.rows) x \(x.columns) of \(x.dtype) into \(out.rows) x \(out.columns)")
            for first in stride(from: 0, to: x.rows, by: kernel.rows) {
                unsafe kernel.run(
                    x.base + first * x.columns * x.dtype.size, copy.base, out.base + first * out.columns, scratch: scratch.base)
            }
        }
    }
}
