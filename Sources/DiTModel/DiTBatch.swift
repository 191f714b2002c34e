import AdapterFormat
import TensorMath

/// One network call over a batch in which each image has its own domain, timestep and class.
///
/// The pool takes the images first; what does not fill all lanes is shared token by token. Either way an image goes through
/// the same products of the same shapes, so its bytes are those it has alone (law 5).
package final class DiTBatch {
    package let model: DiT
    /// May give way to a larger one between calls.
    package var bank: TunableBank
    private let pool: ComputePool
    private let conditioning: ConditioningState
    private let lanePasses: [Pass]
    private let sharedPass: Pass

    /// - Parameter rows: images of one call at most.
    package init(_ model: DiT, bank: TunableBank, rows: Int, pool: ComputePool) {
        self.model = model
        self.bank = bank
        self.pool = pool
        conditioning = ConditioningState(model.configuration, rows: rows)
        lanePasses = (0..<pool.lanes).map { _ in Pass(model.configuration, images: 1, preset: model.preset) }
        sharedPass = Pass(model.configuration, images: 1, lanes: pool.lanes, preset: model.preset)
    }

    /// - Parameters:
    ///   - x: (n, C S S).
    ///   - times: t per image, as the embedder takes it.
    ///   - classes: row of the image's class table.
    ///   - bankRows: the domain of each image.
    ///   - stacks: what becomes of each image's blocks; empty runs them all.
    ///   - out: (n, Cout S S).
    package func forward(x: Matrix, times: [Float], classes: [Int], bankRows: [Int], stacks: [BlockStack] = [], into out: Matrix) {
        let stack = { (image: Int) in stacks.isEmpty ? BlockStack.run : stacks[image] }
        let domains = bankRows.map { bank.rows[$0] }
        Conditioning.forward(
            conditioning, times: times, classes: classes, tunables: domains, weights: model.weights, preset: model.preset,
            team: .pool(pool))
        let dealt = x.rows / pool.lanes * pool.lanes
        pool.run { lane in
            for image in stride(from: lane, to: dealt, by: pool.lanes) {
                model.forward(
                    lanePasses[lane], x: x.row(image), conditioning: conditioning, firstRow: image, tunables: domains[image...image],
                    stack: stack(image), into: out.row(image))
            }
        }
        for image in dealt..<x.rows {
            model.forward(
                sharedPass, x: x.row(image), conditioning: conditioning, firstRow: image, tunables: domains[image...image],
                stack: stack(image), team: .pool(pool), into: out.row(image))
        }
    }
}
