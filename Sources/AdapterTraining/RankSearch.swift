import AdapterFormat
import DiTModel
import Diffusion
import TensorMath

/// Which linear layers deserve which rank, told from the gradients of a few batches before any training
/// (`DiffFit.md`, "Rank search"; after E2GAN, arXiv 2401.06127).
///
/// The mean gradient of a layer's matrix says where the new domain pulls it; the energy of its spectrum, how many directions
/// that takes. Ranks are given one at a time to the layer that gains the most energy per value, while the budget lasts.
package enum RankSearch {
    /// Squared singular values of each layer's mean gradient over `batches` batches of the run's own draws, largest first.
    package static func spectra(
        _ settings: TrainingSettings, _ linears: Set<LowRank.Linear>, base: BaseFile, model: DiT, data: TrainingData, batches: Int, pool: ThreadPool
    ) throws -> [String: [Double]] {
        // The gradients of full training, of which no step is taken.
        let run = try TrainingRun.adapter(settings, TrainableSet(.full, base.configuration), base: base, model: model, data: data, pool: pool)
        let gradients = run.gradients(batches: batches)
        guard let layers = gradients.weights?.layers else { preconditionFailure("full gradients without matrices") }
        var spectra: [String: [Double]] = [:]
        for (block, layer) in layers.enumerated() {
            for linear in linears { spectra[linear.name(block: block)] = squaredSingularValues(layer[linear]) }
        }
        return spectra
    }

    /// Ranks that hold the most energy within the budget, none above `largest`.
    ///
    /// - Parameters:
    ///   - spectra: per layer, largest first.
    ///   - budget: values of all pairs together.
    ///   - cost: values of one rank of a layer.
    package static func ranks(_ spectra: [String: [Double]], budget: Int, largest: Int, cost: (String) -> Int) -> [String: Int] {
        let total = spectra.values.reduce(0.0) { $0 + $1.reduce(0, +) }
        var steps: [(gain: Double, name: String, rank: Int)] = []
        for (name, spectrum) in spectra {
            for (index, energy) in spectrum.prefix(largest).enumerated() where energy > 1e-12 * total {
                steps.append((energy / Double(cost(name)), name, index))
            }
        }
        var ranks: [String: Int] = [:]
        var left = budget
        // Spectra fall, so a layer's ranks come in their order.
        for step in steps.sorted(by: { ($1.gain, $0.name, $0.rank) < ($0.gain, $1.name, $1.rank) }) where cost(step.name) <= left {
            guard ranks[step.name, default: 0] == step.rank else { continue }
            ranks[step.name] = step.rank + 1
            left -= cost(step.name)
        }
        return ranks
    }

    private static func squaredSingularValues(_ matrix: Matrix) -> [Double] {
        // Of the two Gram matrices the smaller has all the values that are not zero.
        let isWide = matrix.columns > matrix.rows
        let order = min(matrix.rows, matrix.columns), count = max(matrix.rows, matrix.columns)
        var rows = [Double](repeating: 0, count: order * count)
        for row in 0..<matrix.rows {
            for column in 0..<matrix.columns { rows[isWide ? column * order + row : row * order + column] = Double(matrix[row, column]) }
        }
        return SymmetricMatrix(gramOf: rows, order: order).eigenvalues.reversed().map { max($0, 0) }
    }
}
