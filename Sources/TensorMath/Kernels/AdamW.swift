import CKernels

/// AdamW with decoupled weight decay (Loshchilov and Hutter), as the reference trainers set it.
package struct AdamWSettings: Sendable, Hashable, Codable {
    package var learningRate: Float
    package var beta1: Float = 0.9
    package var beta2: Float = 0.999
    package var epsilon: Float = 1e-8
    package var weightDecay: Float = 0

    package init(learningRate: Float, beta1: Float = 0.9, beta2: Float = 0.999, weightDecay: Float = 0) {
        self.learningRate = learningRate
        self.beta1 = beta1
        self.beta2 = beta2
        self.weightDecay = weightDecay
    }
}

/// Update number `step` (from 1) of the values p with gradient g and moments m and v, all of one length.
/// - Parameter gradientScale: multiplied on the gradient first (clipping).
package func adamW(_ p: Matrix, m: Matrix, v: Matrix, g: Matrix, step: Int, _ settings: AdamWSettings, gradientScale: Float = 1) {
    precondition([p, m, v, g].allSatisfy { $0.isContiguous && $0.count == p.count })
    var s = ck_adamw_settings(
        learning_rate: settings.learningRate, beta1: settings.beta1, beta2: settings.beta2, epsilon: settings.epsilon,
        weight_decay: settings.weightDecay, correction1: correction(settings.beta1, step),
        correction2: correction(settings.beta2, step), gradient_scale: gradientScale)
    unsafe ck_adamw(p.base, m.base, v.base, g.base, p.count, &s)
}

/// 1 - beta^step, in double precision by repeated squaring.
private func correction(_ beta: Float, _ step: Int) -> Float {
    var power = 1.0
    var factor = Double(beta)
    var n = step
    while n > 0 {
        if n & 1 == 1 { power *= factor }
        factor *= factor
        n >>= 1
    }
    return Float(1 - power)
}
