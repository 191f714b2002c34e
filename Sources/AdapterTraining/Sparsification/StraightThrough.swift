import AdapterFormat
import DiTModel
import TensorMath

/// Training of a base whose blocks' matrices are 2:4 sparse in every call, while all of their weights move (SparseDM, arXiv 2404.10445): before a
/// step the mask m is chosen anew by magnitude and the network computes with m W; W takes the gradient of m W as its own, and where it was not
/// kept a pull towards zero:
///
///     g = g_(m W) + lambda (1 - m) W
final class StraightThrough: Sendable {
    /// lambda.
    static let pull: Float = 2e-4

    /// m W, and the matrices that have no mask as they lie.
    let masked: Weights
    private let trained: Weights

    /// - Parameter trained: W.
    init(_ trained: Weights, _ configuration: DiTConfiguration) {
        let find = trained.finder(configuration)
        let sparse = configuration.frozenTensors.filter { configuration.isSparse($0.name) }
        let memory = Memory(capacity: sparse.reduce(0) { $0 + Memory.paddedCount($1.count) })
        masked = Weights(configuration) { name, rows, columns in configuration.isSparse(name) ? memory.take(rows, columns) : find(name) }
        self.trained = trained
    }

    /// Chooses the masks for W as it is now.
    func mask(pool: ThreadPool) { forEachLayer(pool) { keepTwoOfFour($0, into: $1) } }

    /// Adds the pull to the gradient of m W.
    /// - Precondition: the masks are those that the gradient was taken with.
    func addPull(to gradient: Weights, pool: ThreadPool) {
        guard let gradients = gradient.layers else { preconditionFailure("there are no gradients of the layers") }
        forEachLayer(pool, beside: gradients) { pullDropped($0, kept: $1, lambda: Self.pull, into: $2) }
    }

    private func forEachLayer(_ pool: ThreadPool, _ body: @Sendable (_ w: Matrix, _ kept: Matrix) -> Void) {
        forEachLayer(pool, beside: masked.layers ?? []) { w, kept, _ in body(w, kept) }
    }

    private func forEachLayer(
        _ pool: ThreadPool, beside others: [BlockLayers<Matrix>], _ body: @Sendable (_ w: Matrix, _ kept: Matrix, _ other: Matrix) -> Void
    ) {
        guard let own = trained.layers, let kept = masked.layers else { preconditionFailure("the layers are held packed") }
        let linears = LowRank.Linear.allCases
        pool.forEach(own.count * linears.count) { index in
            let (block, linear) = (index / linears.count, linears[index % linears.count])
            body(own[block][linear], kept[block][linear], others[block][linear])
        }
    }
}
