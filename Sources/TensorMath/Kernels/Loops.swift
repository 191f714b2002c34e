import CKernels

// The kernels of `CKernels.h` on matrices: shapes are checked here, once, and the loops below run unchecked.

/// out = layer norm of x's rows * scale + shift; mean and rstd [rows] are kept for the backward pass.
package func normModulate(_ x: Matrix, scale: Matrix, shift: Matrix, epsilon: Float, into out: Matrix, mean: Matrix, rstd: Matrix) {
    check(x, out, scale, shift)
    precondition(mean.count >= x.rows && rstd.count >= x.rows)
    unsafe ck_norm_modulate(out.base, x.base, scale.base, shift.base, mean.base, rstd.base, x.rows, x.columns, epsilon)
}

/// dx +=, dscale +=, dshift += from dout.
package func normModulateBackward(
    _ dout: Matrix, x: Matrix, mean: Matrix, rstd: Matrix, scale: Matrix, dx: Matrix, dscale: Matrix, dshift: Matrix
) {
    check(x, dx, scale, dscale)
    check(x, dout, dshift, dshift)
    unsafe ck_norm_modulate_backward(
        dx.base, dscale.base, dshift.base, dout.base, x.base, mean.base, rstd.base, scale.base, x.rows, x.columns)
}

/// scale = w (1 + s), shift = c (1 + s) + b.
package func foldModulation(weight: Matrix, bias: Matrix, scale s: Matrix, shift b: Matrix, into scale: Matrix, _ shift: Matrix) {
    let n = weight.count
    precondition(bias.count == n && s.count == n && b.count == n && scale.count == n && shift.count == n)
    unsafe ck_fold_modulation(scale.base, shift.base, weight.base, bias.base, s.base, b.base, n)
}

/// dweight +=, dbias +=; ds and db are overwritten.
package func foldModulationBackward(
    dscale: Matrix, dshift: Matrix, weight: Matrix, bias: Matrix, scale s: Matrix, dweight: Matrix, dbias: Matrix, ds: Matrix,
    db: Matrix
) {
    let n = weight.count
    precondition([dscale, dshift, bias, s, dweight, dbias, ds, db].allSatisfy { $0.count == n })
    unsafe ck_fold_modulation_backward(
        dweight.base, dbias.base, ds.base, db.base, dscale.base, dshift.base, weight.base, bias.base, s.base, n)
}

/// x += bias, per row.
package func addBias(_ x: Matrix, _ bias: Matrix) {
    check(x, x, bias, bias)
    unsafe ck_add_bias(x.base, bias.base, x.rows, x.columns)
}

/// z += bias; y = gamma z.
package func biasGamma(_ z: Matrix, bias: Matrix, gamma: Matrix, into y: Matrix) {
    check(z, y, bias, gamma)
    unsafe ck_bias_gamma(y.base, z.base, bias.base, gamma.base, z.rows, z.columns)
}

/// out = x scale, per row; scale [n].
package func scaleColumns(_ x: Matrix, by scale: Matrix, into out: Matrix) {
    check(x, out, scale, scale)
    unsafe ck_scale_columns(out.base, x.base, scale.base, x.rows, x.columns)
}

/// dgamma += sum of dy z; dz = dy gamma.
package func gammaBackward(_ dy: Matrix, z: Matrix, gamma: Matrix, dz: Matrix, dgamma: Matrix) {
    check(dy, dz, gamma, dgamma)
    unsafe ck_gamma_backward(dz.base, dgamma.base, dy.base, z.base, gamma.base, dy.rows, dy.columns)
}

/// z += bias; out = x + gate z.
package func residual(_ x: Matrix, _ z: Matrix, bias: Matrix, gate: Matrix, into out: Matrix) {
    check(x, out, bias, gate)
    unsafe ck_residual(out.base, x.base, z.base, bias.base, gate.base, x.rows, x.columns)
}

/// dz = dout gate; dgate += sum of dout z.
package func residualBackward(_ dout: Matrix, z: Matrix, gate: Matrix, dz: Matrix, dgate: Matrix) {
    check(dout, dz, gate, dgate)
    unsafe ck_residual_backward(dz.base, dgate.base, dout.base, z.base, gate.base, dout.rows, dout.columns)
}

/// h += bias; out = gelu(h) in the tanh form.
package func biasGelu(_ h: Matrix, bias: Matrix, into out: Matrix) {
    check(h, out, bias, bias)
    unsafe ck_bias_gelu(out.base, h.base, bias.base, h.rows, h.columns)
}

/// out = gelu(h) in the tanh form.
package func gelu(_ h: Matrix, into out: Matrix) {
    check(h, out)
    unsafe ck_gelu(out.base, h.base, h.count)
}

/// dh = dout gelu'(h); dh may be dout.
package func geluBackward(_ dout: Matrix, h: Matrix, dh: Matrix) {
    check(dout, dh)
    check(dout, h)
    unsafe ck_gelu_backward(dh.base, dout.base, h.base, h.count)
}

package func silu(_ x: Matrix, into out: Matrix) {
    check(x, out)
    unsafe ck_silu(out.base, x.base, x.count)
}

/// dx = dout silu'(x); dx may be dout.
package func siluBackward(_ dout: Matrix, x: Matrix, dx: Matrix) {
    check(dout, dx)
    check(dout, x)
    unsafe ck_silu_backward(dx.base, dout.base, x.base, x.count)
}

/// sum += column sums of x.
package func addColumnSums(of x: Matrix, to sum: Matrix) {
    check(x, x, sum, sum)
    unsafe ck_column_sum(sum.base, x.base, x.rows, x.columns)
}

/// out = a b, elementwise.
package func multiplyElements(_ a: Matrix, _ b: Matrix, into out: Matrix) {
    precondition(a.count == b.count && a.count == out.count)
    unsafe ck_multiply(out.base, a.base, b.base, a.count)
}

/// out += a b, elementwise.
package func multiplyElements(_ a: Matrix, _ b: Matrix, addingTo out: Matrix) {
    precondition(a.count == b.count && a.count == out.count)
    unsafe ck_multiply_add(out.base, a.base, b.base, a.count)
}

/// y += alpha x.
package func add(_ x: Matrix, scaledBy alpha: Float = 1, to y: Matrix) {
    precondition(x.count == y.count && x.isContiguous && y.isContiguous)
    unsafe ck_axpy(y.base, x.base, alpha, x.count)
}

/// x = softmax(alpha x), per row.
package func softmax(_ x: Matrix, alpha: Float) {
    check(x, x)
    unsafe ck_softmax(x.base, alpha, x.rows, x.columns)
}

/// dp becomes the gradient of the scores before alpha.
package func softmaxBackward(_ dp: Matrix, p: Matrix, alpha: Float) {
    check(dp, p)
    unsafe ck_softmax_backward(dp.base, p.base, alpha, p.rows, p.columns)
}

/// out = x w^T for a few rows; a row's bytes do not depend on the other rows.
package func linearRows(_ x: Matrix, weight w: Matrix, into out: Matrix) {
    precondition(x.isContiguous && w.isContiguous && out.isContiguous && w.columns == x.columns && w.rows == out.columns)
    precondition(out.rows == x.rows)
    unsafe ck_linear_rows(out.base, x.base, w.base, x.rows, x.columns, w.rows)
}

/// ema = decay ema + (1 - decay) p; the complement is formed in double precision, as the reference does.
package func updateAverage(_ ema: Matrix, with p: Matrix, decay: Double) {
    precondition(ema.count == p.count && ema.isContiguous && p.isContiguous)
    unsafe ck_ema(ema.base, p.base, Float(decay), Float(1 - decay), p.count)
}

/// Sum of squares of a contiguous matrix, in a fixed order.
package func sumOfSquares(_ x: Matrix) -> Double {
    precondition(x.isContiguous)
    return unsafe ck_sum_of_squares(x.base, x.count)
}

/// Two contiguous matrices of one shape, and vectors as long as their rows.
private func check(_ a: Matrix, _ b: Matrix, _ v: Matrix, _ w: Matrix) {
    check(a, b)
    precondition(v.count == a.columns && w.count == a.columns, "a vector of \(v.count) or \(w.count) for rows of \(a.columns)")
}

private func check(_ a: Matrix, _ b: Matrix) {
    precondition(
        a.isContiguous && b.isContiguous && a.rows == b.rows && a.columns == b.columns,
        "\(a.rows) x \(a.columns) against \(b.rows) x \(b.columns)")
}
