import CKernels

/// A matrix W [outputs, inputs] of a linear layer as training multiplies by it: y = x W^T in the forward pass, dx = dy W in the backward pass,
/// and where W is trained dW += dy^T x.
package struct LayerMatrix: Sendable {
    private let forwardWeights, backwardWeights: GEMMWeights
    /// Of dW, per number of rows; empty where W is frozen, or multiplied plain.
    private let gradientKernels: [GEMMKernel]

    /// As it lies, in float32: it may move between steps.
    package init(_ w: Matrix) {
        self.init(forward: .plain(.transposed(w)), backward: .plain(.plain(w)), gradient: [])
    }

    private init(forward: GEMMWeights, backward: GEMMWeights, gradient: [GEMMKernel]) {
        (forwardWeights, backwardWeights, gradientKernels) = (forward, backward, gradient)
    }

    /// Packed for the forward pass and, transposed, for the backward pass, where the form says so. A frozen matrix's pages are read-only
    /// (law 7); one that is trained is packed anew after each step.
    /// - Parameters:
    ///   - form: of float32 or bfloat16.
    ///   - trainedRows: the numbers of rows that gradients of W will be taken over; empty where it is frozen.
    package init(_ w: Matrix, _ form: WeightForm, with packer: WeightPacker, trainedRows: [Int] = []) throws(TensorMathError) {
        guard case .packed(let dtype) = form else {
            self.init(w)
            return
        }
        precondition(dtype == .f32 || dtype == .bf16, "no gradient goes through \(dtype)")
        let forward = try packer.kernels(dtype, outputs: w.rows, inputs: w.columns)
        let backward = try packer.kernels(dtype, outputs: w.columns, inputs: w.rows)
        let each = [forward, backward].map { Memory.paddedCount(($0[0].packedBytes + 3) / 4) }
        let memory = Memory(capacity: each.reduce(0, +))
        let copies = each.map { memory.take($0) }
        self.init(
            forward: .packed(forward, copies[0]), backward: .packed(backward, copies[1]),
            gradient: try packer.gradientKernels(dtype, rows: trainedRows, outputs: w.rows, inputs: w.columns))
        try unsafe forward[0].pack(w.base, .f32, into: copies[0].base)
        try unsafe backward[0].pack(w.base, .f32, transposed: true, into: copies[1].base)
        if trainedRows.isEmpty { memory.seal() }
    }

    /// Lays the values of W out anew, where they are packed.
    package func repack(_ w: Matrix) {
        guard case .packed(let forward, let copy) = forwardWeights, case .packed(let backward, let transposed) = backwardWeights else { return }
        do {
            try unsafe forward[0].pack(w.base, .f32, into: copy.base)
            try unsafe backward[0].pack(w.base, .f32, transposed: true, into: transposed.base)
        } catch {
            // It was packed so before: what is left is a machine without memory.
            preconditionFailure("\(error)")
        }
    }

    /// y = x W^T; x (rows, inputs), y (rows, outputs).
    package func forward(_ x: Matrix, into y: Matrix, scratch: LayerScratch) {
        forwardWeights.multiply(scratch.rows(x, as: forwardWeights.dtype), into: y, scratch: scratch.product)
    }

    /// dx = dy W; dy (rows, outputs), dx (rows, inputs).
    package func backward(_ dy: Matrix, into dx: Matrix, scratch: LayerScratch) {
        backwardWeights.multiply(scratch.rows(dy, as: backwardWeights.dtype), into: dx, scratch: scratch.product)
    }

    /// dW += dy^T x; dy (rows, outputs), x (rows, inputs).
    package func addGradient(_ dy: Matrix, x: Matrix, to dw: Matrix, scratch: LayerScratch) {
        guard let kernel = gradientKernels.first(where: { $0.rows == dy.rows }) else {
            precondition(gradientKernels.isEmpty, "\(dy.rows) rows, and gradients of \(gradientKernels.map(\.rows))")
            return multiply(.transposed(dy), .plain(x), into: dw, adding: true)
        }
        precondition(dw.isContiguous && x.rows == dy.rows && dw.rows == dy.columns && dw.columns == x.columns)
        let slopes = scratch.rows(dy, as: kernel.dtype), inputs = scratch.inputs(x, as: kernel.dtype)
        unsafe kernel.run(slopes.base, inputs.base, dw.base, scratch: scratch.product.base)
    }
}

/// What a packed layer needs beside its factors: the rounded rows, and the scratch of the kernels.
package struct LayerScratch: Sendable {
    /// nil where rows are multiplied in float32; the second of the inputs, where matrices are trained.
    private let rounded, roundedInputs: Matrix?
    let product: Matrix

    /// - Parameters:
    ///   - values: of the largest x or dy.
    ///   - need: of the layers that will use it; nil where they are plain.
    package init(values: Int, _ need: Need?, take: (Int, Int) -> Matrix) {
        rounded = need?.dtype == .bf16 ? take(1, (values + 1) / 2) : nil
        roundedInputs = rounded != nil && need?.trainsMatrices == true ? take(1, (values + 1) / 2) : nil
        product = take(1, ((need?.bytes ?? 0) + 3) / 4)
    }

    /// The rows of x in an element type.
    func rows(_ x: Matrix, as dtype: DType) -> QuantizedMatrix { Self.rounded(x, dtype, in: rounded) }

    /// The same beside rows that are still needed.
    func inputs(_ x: Matrix, as dtype: DType) -> QuantizedMatrix { Self.rounded(x, dtype, in: roundedInputs) }

    private static func rounded(_ x: Matrix, _ dtype: DType, in rounded: Matrix?) -> QuantizedMatrix {
        guard dtype == .bf16 else { return QuantizedMatrix(x) }
        guard let rounded, x.isContiguous else { preconditionFailure("no memory to round rows in") }
        let rows = QuantizedMatrix(bfloat16: rounded, rows: x.rows, columns: x.columns)
        unsafe ck_round_bf16(rows.bfloat16, x.base, x.count)
        return rows
    }

    /// What a network's layers ask of the scratch.
    package struct Need: Sendable {
        let dtype: DType
        let bytes: Int
        let trainsMatrices: Bool

        /// Of layers in a form that a packer laid out.
        package init(_ form: WeightForm, _ packer: WeightPacker, trainsMatrices: Bool) {
            (dtype, bytes, self.trainsMatrices) = (form.dtype, packer.scratchBytes, trainsMatrices)
        }
    }
}
