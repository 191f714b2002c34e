import CKernels

/// What a packed product leaves behind for one tile and panel, before any bias: read once by an epilogue.
@safe package struct Sums {
    package let rows: Int
    /// The outputs of the matrix that these are; the epilogues take their parts of whole vectors by it.
    package let columns: Range<Int>
    let values: ck_sums
}

/// Where one thread's products leave their sums, and their scratch.
package struct ProductWorkspace: Sendable {
    let sums: Matrix
    let scratch: Matrix
    /// Scratch of one row, for norms and quantisation.
    package let line: Matrix

    /// - Parameters:
    ///   - sums: values of the largest tile and panel.
    ///   - scratch: bytes.
    ///   - line: values of the longest row.
    package init(sums: Int, scratch: Int, line: Int, take: (Int, Int) -> Matrix) {
        self.sums = take(1, sums)
        self.scratch = take(1, (scratch + 3) / 4)
        self.line = take(1, line)
    }
}

/// out = gamma (sums + bias); bias and gamma of all outputs, out (rows, all outputs).
package func biasGamma(_ sums: Sums, bias: Matrix, gamma: Matrix, into out: QuantizedMatrix) {
    let (out, bias, gamma) = (sums.part(of: out), sums.part(of: bias), sums.part(of: gamma))
    var values = unsafe sums.values
    switch out.form {
    case .f32: unsafe ck_sums_gamma(out.floats, out.stride, &values, bias.base, gamma.base, sums.rows, out.columns)
    case .bf16: unsafe ck_sums_gamma_bf16(out.halves, out.stride, &values, bias.base, gamma.base, sums.rows, out.columns)
    case .u8: preconditionFailure("a row is quantised when all of it is there")
    }
}

/// out = gelu(sums + bias), the tanh form.
package func biasGelu(_ sums: Sums, bias: Matrix, into out: QuantizedMatrix) {
    let (out, bias) = (sums.part(of: out), sums.part(of: bias))
    var values = unsafe sums.values
    switch out.form {
    case .f32: unsafe ck_sums_gelu(out.floats, out.stride, &values, bias.base, sums.rows, out.columns)
    case .bf16: unsafe ck_sums_gelu_bf16(out.halves, out.stride, &values, bias.base, sums.rows, out.columns)
    case .u8: preconditionFailure("a row is quantised when all of it is there")
    }
}

/// x += gate (sums + bias), on x (rows, all outputs).
package func addResidual(_ sums: Sums, bias: Matrix, gate: Matrix, to x: Matrix) {
    precondition(x.rows == sums.rows)
    let (x, bias, gate) = (x.columns(sums.columns), sums.part(of: bias), sums.part(of: gate))
    var values = unsafe sums.values
    unsafe ck_sums_residual(x.base, x.stride, &values, bias.base, gate.base, sums.rows, x.columns)
}

extension Sums {
    /// The sums plus scale low b^T, in float32: what an adapter adds to a linear layer of one image. The packed matrix is not touched.
    /// - Parameters:
    ///   - low: (rows, rank).
    ///   - b: (all outputs, rank).
    package func adding(_ low: Matrix, _ b: Matrix, scale: Float) -> Sums {
        let floats = unsafe UnsafeMutablePointer(mutating: values.values.assumingMemoryBound(to: Float.self))
        if unsafe values.row_scale != nil { unsafe dequantise(into: floats) }
        let matrix = unsafe Matrix(base: floats, rows: rows, columns: columns.count, stride: values.stride, keeping: low)
        multiply(.plain(low), .transposed(b.rows(columns)), into: matrix, scale: scale, adding: true)
        var values = unsafe values
        unsafe values.row_scale = nil
        return unsafe Sums(rows: rows, columns: columns, values: values)
    }

    /// Overwrites whole numbers by the values that they stand for.
    private func dequantise(into floats: UnsafeMutablePointer<Float>) {
        let whole = unsafe values.values.assumingMemoryBound(to: Int32.self)
        for row in 0..<rows {
            for column in 0..<columns.count {
                let at = unsafe row * values.stride + column
                let sum = unsafe whole[at] &- values.row_zero_point[row] &* values.column_sum[column]
                unsafe floats[at] = values.row_scale[row] * values.column_scale[column] * Float(sum)
            }
        }
    }

    fileprivate func part(of vector: Matrix) -> Matrix { vector.values(columns) }
    fileprivate func part(of out: QuantizedMatrix) -> QuantizedMatrix {
        precondition(out.rows == rows, "\(rows) rows of sums into \(out.rows)")
        return out.columns(columns)
    }
}
