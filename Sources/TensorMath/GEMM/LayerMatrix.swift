import CKernels

/// A matrix W [outputs, inputs] of a linear layer as training multiplies by it: y = x W^T in the forward pass, dx = dy W in the backward pass.
package struct LayerMatrix: Sendable {
    private let forwardWeights, backwardWeights: GEMMWeights

    /// As it lies, in float32: it may move between steps.
    package init(_ w: Matrix) {
        self.init(forward: .plain(.transposed(w)), backward: .plain(.plain(w)))
    }

    private init(forward: GEMMWeights, backward: GEMMWeights) { (forwardWeights, backwardWeights) = (forward, backward) }

    /// Frozen: packed for the forward pass and, transposed, for the backward pass, where the form says so. Its pages are read-only (law 7).
    /// - Parameter form: of float32 or bfloat16.
    package init(_ w: Matrix, _ form: WeightForm, with packer: WeightPacker) throws(TensorMathError) {
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
        try unsafe forward[0].pack(w.base, .f32, into: copies[0].base)
        try unsafe backward[0].pack(w.base, .f32, transposed: true, into: copies[1].base)
        memory.seal()
        self.init(forward: .packed(forward, copies[0]), backward: .packed(backward, copies[1]))
    }

    /// y = x W^T; x (rows, inputs), y (rows, outputs).
    package func forward(_ x: Matrix, into y: Matrix, scratch: LayerScratch) {
        forwardWeights.multiply(scratch.rows(x, as: forwardWeights.dtype), into: y, scratch: scratch.product)
    }

    /// dx = dy W; dy (rows, outputs), dx (rows, inputs).
    package func backward(_ dy: Matrix, into dx: Matrix, scratch: LayerScratch) {
        backwardWeights.multiply(scratch.rows(dy, as: backwardWeights.dtype), into: dx, scratch: scratch.product)
    }
}

/// What a packed layer needs beside its factors: the rounded rows, and the scratch of the kernels.
package struct LayerScratch: Sendable {
    /// nil where rows are multiplied in float32.
    private let rounded: Matrix?
    let product: Matrix

    /// - Parameters:
    ///   - values: of the largest x or dy.
    ///   - need: of the layers that will use it; nil where they are plain.
    package init(values: Int, _ need: Need?, take: (Int, Int) -> Matrix) {
        rounded = need?.dtype == .bf16 ? take(1, (values + 1) / 2) : nil
        product = take(1, ((need?.bytes ?? 0) + 3) / 4)
    }

    /// The rows of x in an element type.
    func rows(_ x: Matrix, as dtype: DType) -> QuantizedMatrix {
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

        /// Of layers in a form that a packer laid out.
        package init(_ form: WeightForm, _ packer: WeightPacker) { (dtype, bytes) = (form.dtype, packer.scratchBytes) }
    }
}
