import CKernels

/// What a packed product leaves behind for one tile and panel, before any bias: read once by an epilogue.
@safe package struct Accumulators {
    package let rows: Int
    /// The outputs of the matrix that these are; the epilogues take their parts of whole vectors by it.
    package let columns: Range<Int>
    let values: ck_accumulators
}

/// Where one thread's products leave their accumulators, and their scratch.
package struct ProductWorkspace: Sendable {
    let accumulators: Matrix
    let scratch: Matrix
    /// Where compressed panels are expanded.
    let panel: Matrix
    /// Scratch of two rows in float32, for norms and quantisation.
    package let line: Matrix

    /// - Parameter line: values of the longest row.
    package init(_ need: Need, line: Int, take: (Int, Int) -> Matrix) {
        accumulators = take(1, need.accumulators)
        scratch = take(1, (need.scratchBytes + 3) / 4)
        panel = take(1, need.panel)
        self.line = take(1, 2 * line)
    }

    /// What the products that use it ask for: values of the largest tile and panel, of the largest panel that is expanded, and scratch of the
    /// kernels.
    package struct Need: Sendable {
        let accumulators, panel, scratchBytes: Int
        /// Of the largest tile.
        package let rows: Int
    }
}

/// out = gamma (accumulators + bias); bias and gamma of all outputs, out (rows, all outputs).
package func biasGamma(_ accumulators: Accumulators, bias: Matrix, gamma: Matrix, into out: QuantizedMatrix) {
    let (out, bias, gamma) = (accumulators.part(of: out), accumulators.part(of: bias), accumulators.part(of: gamma))
    var values = unsafe accumulators.values
    switch out.dtype {
    case .f32: unsafe ck_accumulators_gamma(out.floats, out.stride, &values, bias.base, gamma.base, accumulators.rows, out.columns)
    case .bf16: unsafe ck_accumulators_gamma_bf16(out.bfloat16, out.stride, &values, bias.base, gamma.base, accumulators.rows, out.columns)
    // A row is quantised when all of it is there.
    default: noKernel(for: out.dtype)
    }
}

/// out = gelu(accumulators + bias), the tanh form.
package func biasGelu(_ accumulators: Accumulators, bias: Matrix, into out: QuantizedMatrix) {
    let (out, bias) = (accumulators.part(of: out), accumulators.part(of: bias))
    var values = unsafe accumulators.values
    switch out.dtype {
    case .f32: unsafe ck_accumulators_gelu(out.floats, out.stride, &values, bias.base, accumulators.rows, out.columns)
    case .bf16:
        unsafe out.forEachPart { rows, columns, base, stride in
            var values = unsafe accumulators.values(rows, columns)
            unsafe ck_accumulators_gelu_bf16(
                base.assumingMemoryBound(to: UInt16.self), stride, &values, bias.base + columns.lowerBound, rows.count, columns.count)
        }
    // A row is quantised when all of it is there.
    default: noKernel(for: out.dtype)
    }
}

/// x += gate (accumulators + bias), on x (rows, all outputs).
package func addResidual(_ accumulators: Accumulators, bias: Matrix, gate: Matrix, to x: Matrix) {
    precondition(x.rows == accumulators.rows)
    let (x, bias, gate) = (x.columns(accumulators.columns), accumulators.part(of: bias), accumulators.part(of: gate))
    var values = unsafe accumulators.values
    unsafe ck_accumulators_residual(x.base, x.stride, &values, bias.base, gate.base, accumulators.rows, x.columns)
}

extension Accumulators {
    /// Ranks that are added at once at most.
    package static var largestRank: Int { Int(CK_LOW_RANK) }

    /// The accumulators plus scale low b^T, in float32: what an adapter adds to a linear layer of one image. The packed matrix is not touched.
    /// - Parameters:
    ///   - low: (rows, rank), at most `largestRank`.
    ///   - b: (all outputs, rank).
    package func adding(_ low: Matrix, _ b: Matrix, scale: Float) -> Accumulators {
        precondition(low.isContiguous && low.rows == rows && low.columns == b.columns && low.columns <= Self.largestRank)
        var values = unsafe values
        let floats = unsafe UnsafeMutablePointer(mutating: values.values.assumingMemoryBound(to: Float.self)), b = b.rows(columns)
        unsafe ck_accumulators_add_low_rank(
            floats, values.stride, &values, low.base, low.columns, b.base, b.stride, scale, rows, columns.count)
        unsafe values.row_scale = nil
        return unsafe Accumulators(rows: rows, columns: columns, values: values)
    }

    /// Those of some rows and columns of these.
    fileprivate func values(_ rows: Range<Int>, _ columns: Range<Int>) -> ck_accumulators {
        let (row, column) = (rows.lowerBound, columns.lowerBound)
        return unsafe ck_accumulators(
            values: values.values + (row * values.stride + column) * 4, stride: values.stride, row_scale: values.row_scale.map { unsafe $0 + row },
            row_zero_point: values.row_zero_point.map { unsafe $0 + row }, column_scale: values.column_scale.map { unsafe $0 + column },
            column_sum: values.column_sum.map { unsafe $0 + column })
    }

    fileprivate func part(of vector: Matrix) -> Matrix { vector.values(columns) }
    fileprivate func part(of out: QuantizedMatrix) -> QuantizedMatrix {
        precondition(out.rows == rows, "\(rows) rows of accumulators into \(out.rows)")
        return out.columns(columns)
    }
}
