import AdapterFormat
import DiTModel
import TensorMath

extension TrainableValues {
    /// The start of a base trained from nothing, as the reference initialises it: Xavier-uniform matrices, embedders
    /// normal with deviation 0.02, modulation and final layer zero, gammas and norm weights 1.
    package func initialise(_ layout: TunableLayout, seed: UInt64) {
        zero()
        vector.copy(from: TunableVector.neutral(layout).values)
        fill(classTable, seed: seed, stream: 0, normal: 0.02)
        guard let weights, let layers = weights.layers else { return }
        let zeros = weights.modulations + [weights.finalModulation, weights.finalLinear]
        for matrix in zeros { matrix.fill(0) }
        fill(weights.tEmbedder0, seed: seed, stream: 1, normal: 0.02)
        fill(weights.tEmbedder2, seed: seed, stream: 2, normal: 0.02)
        let drawn = [weights.xEmbedder] + layers.flatMap(\.all)
        for (index, matrix) in drawn.enumerated() {
            // A normal of the Xavier-uniform's variance, 2 / (rows + columns).
            fill(matrix, seed: seed, stream: UInt64(3 + index), normal: (2 / Float(matrix.rows + matrix.columns)).squareRoot())
        }
    }

    /// The first factor of every low-rank pair, normal with deviation 1 / sqrt(inputs); the second stays zero.
    package func drawPairs(_ layout: TunableLayout, seed: UInt64) {
        for (index, tensor) in layout.tensors.enumerated() where tensor.name.hasSuffix(LowRank.names(of: "").a) {
            for (number, vector) in vectors.enumerated() {
                let a = vector.values(tensor.range)
                Philox(seed: seed, stream: 7 << 60 | UInt64(number) << 40 | UInt64(index)).normals(into: a)
                let deviation = 1 / Float(tensor.shape[1]).squareRoot()
                a.withMutableSpan { for i in $0.indices { $0[i] *= deviation } }
            }
        }
    }

    private func fill(_ matrix: Matrix, seed: UInt64, stream: UInt64, normal deviation: Float) {
        Philox(seed: seed, stream: stream).normals(into: matrix)
        matrix.withMutableSpan { values in
            for index in values.indices { values[index] *= deviation }
        }
    }
}
