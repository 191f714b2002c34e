import TensorMath

/// The six parts of one block's modulation row, in the reference's order.
struct Modulation {
    let shift1, scale1, gate1, shift2, scale2, gate2: Matrix  // (D)

    init(_ row: Matrix) {
        let D = row.count / 6
        var at = 0
        shift1 = row.next(D, at: &at)
        scale1 = row.next(D, at: &at)
        gate1 = row.next(D, at: &at)
        shift2 = row.next(D, at: &at)
        scale2 = row.next(D, at: &at)
        gate2 = row.next(D, at: &at)
    }
}

/// What an image's domain and conditioning make of one block: affine norm and modulation as one scale and shift per branch,
/// gammas and gate as one factor.
struct FoldedVectors: Sendable {
    let scale1, shift1, factor1, scale2, shift2, factor2: Matrix  // (D)

    func fold(_ t: Tunables.Block, modulation row: Matrix) {
        let m = Modulation(row)
        foldModulation(weight: t.norm1Weight, bias: t.norm1Bias, scale: m.scale1, shift: m.shift1, into: scale1, shift1)
        foldModulation(weight: t.norm2Weight, bias: t.norm2Bias, scale: m.scale2, shift: m.shift2, into: scale2, shift2)
        multiplyElements(t.gamma1, t.attnGamma2, into: factor1)
        multiplyElements(factor1, m.gate1, into: factor1)
        multiplyElements(t.gamma2, m.gate2, into: factor2)
    }
}
