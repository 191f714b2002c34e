import TensorMath

/// The least-squares fit of one step of a `FittedSolver`: sums over any number of values of the products that the normal equations need.
package struct SolverStepFit: Sendable {
    /// Which coefficients are free.
    package enum Family: String, Sendable, CaseIterable, Codable {
        /// All three.
        case free
        /// Only the share of the prediction before: a step of this family is exact where the data are predicted alike at both calls.
        case consistent
    }

    /// Upper triangle of the products of (x, m, m1, target) with each other.
    private var sums = [Double](repeating: 0, count: 16)
    private let hasPrevious: Bool

    /// - Parameter hasPrevious: whether there was a call before this one.
    package init(hasPrevious: Bool) { self.hasPrevious = hasPrevious }

    /// - Parameter products: sums of the products of (x, m, m1, target) with each other, by their places.
    package init(hasPrevious: Bool, products: (_ row: Int, _ column: Int) -> Double) {
        self.hasPrevious = hasPrevious
        for row in 0..<4 { for column in row..<4 where hasPrevious || (row != 2 && column != 2) { sums[4 * row + column] = products(row, column) } }
    }

    /// Sum of the squared errors of a step over all that was taken in.
    package func error(of step: FittedSolver.Step) -> Double {
        let weights = [step.x, step.m, step.m1, -1]
        var sum = 0.0
        for row in 0..<4 { for column in row..<4 { sum += (row == column ? 1 : 2) * weights[row] * weights[column] * sums[4 * row + column] } }
        return max(sum, 0)
    }

    /// The sum of several, each by its weight.
    package init(_ fits: [SolverStepFit], weights: [Double]) {
        hasPrevious = fits.first?.hasPrevious ?? false
        for (fit, weight) in zip(fits, weights) { for place in sums.indices { sums[place] += weight * fit.sums[place] } }
    }

    /// The step that is best in the mean over images of the logarithm of each one's squared error, so that an image which goes elsewhere
    /// does not outweigh the rest: least squares, again and again with the images weighed by one over their error.
    /// - Parameter fits: one per image.
    package static func robustStep(
        _ fits: [SolverStepFit], _ family: Family, from time: Double, to next: Double?, on path: DiffusionPath
    ) -> FittedSolver.Step {
        var weights = [Double](repeating: 1, count: fits.count)
        var step = SolverStepFit(fits, weights: weights).step(family, from: time, to: next, on: path)
        for _ in 0..<8 {
            let errors = fits.map { $0.error(of: step) }
            let least = 1e-3 * errors.reduce(0, +) / Double(errors.count) + .leastNormalMagnitude
            weights = errors.map { least / ($0 + least) }
            step = SolverStepFit(fits, weights: weights).step(family, from: time, to: next, on: path)
        }
        return step
    }

    /// Takes values of an image in.
    package mutating func add(x: Matrix, m: Matrix, m1: Matrix, target: Matrix) {
        var local = sums
        x.withSpan { x in
            m.withSpan { m in
                m1.withSpan { m1 in
                    target.withSpan { target in
                        for i in x.indices {
                            let row = (Double(x[i]), Double(m[i]), Double(m1[i]), Double(target[i]))
                            local[0] += row.0 * row.0
                            local[1] += row.0 * row.1
                            local[2] += row.0 * row.2
                            local[3] += row.0 * row.3
                            local[5] += row.1 * row.1
                            local[6] += row.1 * row.2
                            local[7] += row.1 * row.3
                            local[10] += row.2 * row.2
                            local[11] += row.2 * row.3
                            local[15] += row.3 * row.3
                        }
                    }
                }
            }
        }
        sums = local
    }

    /// - Parameters:
    ///   - time, next: t of this call and of the next; nil for the data.
    /// - Returns: the coefficients of least squared error.
    package func step(_ family: Family, from time: Double, to next: Double?, on path: DiffusionPath) -> FittedSolver.Step {
        let now = path.level(time), then = next.map(path.level) ?? PathLevel(data: 1, noise: 0)
        let x = then.noise / now.noise, both = then.data - x * now.data
        var step = FittedSolver.Step(time: time, x: x, m: both, m1: 0)
        switch family {
        case .consistent:
            guard hasPrevious else { return step }
            // target - x x - both m = m1 (m1 - m)
            let (xm, xm1) = (sums[1], sums[2]), (mm, mm1, mt) = (sums[5], sums[6], sums[7]), (m1m1, m1t) = (sums[10], sums[11])
            let top = (m1t - mt) - x * (xm1 - xm) - both * (mm1 - mm), bottom = m1m1 - 2 * mm1 + mm
            guard bottom > 1e-12 * max(mm, m1m1) else { return step }
            step.m1 = top / bottom
            step.m = both - step.m1
        case .free:
            let places = hasPrevious ? [0, 1, 2] : [0, 1]
            let gram = SymmetricMatrix(
                order: places.count, values: places.flatMap { row in places.map { sums[4 * min(row, $0) + max(row, $0)] } })
            guard let found = gram.solution(places.map { sums[4 * $0 + 3] }) else { return step }
            step = FittedSolver.Step(time: time, x: found[0], m: found[1], m1: hasPrevious ? found[2] : 0)
        }
        return step
    }
}
