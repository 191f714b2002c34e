/// Which values of an adapter stay when the smallest changes give way to the base's values (`DiffFit.md`, "Sparse
/// adapters"; after FedSparsify, arXiv 2204.12430).
package enum SparseMask {
    /// Biases, gammas and pairs live on different scales, so a change counts relative to the root mean square of the changes in
    /// its tensor; one threshold then holds for all tensors together. The class table is never pruned: it is not part of this.
    ///
    /// - Parameters:
    ///   - sparsity: share of the set's values that give way, 0 to 1.
    ///   - base: the base's values over the same layout.
    /// - Returns: per value of the layout whether it stays; outside the tensors everything does.
    package static func kept(_ values: [Float], over base: [Float], tensors: [TunableTensor], sparsity: Double) -> [Bool] {
        var mask = [Bool](repeating: true, count: values.count)
        var scores: [(score: Float, index: Int)] = []
        for tensor in tensors {
            let squares = tensor.range.reduce(Float(0)) { $0 + (values[$1] - base[$1]) * (values[$1] - base[$1]) }
            let rms = (squares / Float(max(tensor.count, 1))).squareRoot()
            scores += tensor.range.map { (rms > 0 ? abs(values[$0] - base[$0]) / rms : 0, $0) }
        }
        let pruned = Int((sparsity * Double(scores.count)).rounded())
        for entry in scores.sorted(by: { ($0.score, $0.index) < ($1.score, $1.index) }).prefix(pruned) { mask[entry.index] = false }
        return mask
    }

    /// Share that gives way at `step`, rising on a cube from 0 at `start` to the whole at `end`, quickly first.
    package static func sparsity(atStep step: Int, from start: Int, to end: Int, target: Double) -> Double {
        guard step > start else { return 0 }
        let left = 1 - Double(min(step, end) - start) / Double(max(end - start, 1))
        return target - target * left * left * left
    }
}
