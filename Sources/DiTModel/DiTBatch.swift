import AdapterFormat
import TensorMath

/// One network call over a batch in which each image has its own domain, timestep and class.
///
/// The pool takes the images first; what does not fill all threads is shared token by token. Either way an image goes through
/// the same products of the same shapes, so its bytes are those it has alone (law 5).
package final class DiTBatch {
    package let model: PackedDiT
    /// May give way to a larger one between calls.
    package var adapterSlots: AdapterSlots
    /// Rows whose conditioning is worth computing at once.
    package static let rowsAhead = ModulationCache.rowsAtOnce
    private let pool: ThreadPool
    private var modulations: ModulationCache
    private let lanePasses: [SamplingPass]
    private let sharedPass: SamplingPass

    /// - Parameter rows: images of one call at most.
    package init(_ model: PackedDiT, adapterSlots: AdapterSlots, rows: Int, pool: ThreadPool) {
        self.model = model
        self.adapterSlots = adapterSlots
        self.pool = pool
        modulations = ModulationCache(model, rows: rows)
        lanePasses = (0..<pool.threadCount).map { _ in SamplingPass(model) }
        sharedPass = SamplingPass(model, threads: pool.threadCount)
    }

    /// Bytes that a batch for images of a grid takes, with what goes in and comes out of it: about, and known before it is built.
    package static func bytes(_ model: PackedDiT, fitting grid: ImageGrid, rows: Int, threads: Int) -> Int {
        var c = model.configuration
        c.inputSize = grid.size
        let (T, D) = (c.tokens, c.hiddenSize)
        // A pass per thread and one that all share, each with the residual stream, its layers and the scores of a head per thread.
        let stream = T * (14 * D + c.patchInSize + c.patchOutSize), scores = T * T
        let ends = rows * (c.inChannels + c.outChannels) * grid.size * grid.size
        return MemoryLayout<Float>.size * ((threads + 1) * stream + 2 * threads * scores + ends) + ModulationCache.bytes(c, rows: rows)
    }

    /// - Parameters:
    ///   - x: (n, C S S).
    ///   - times: t per image, as the embedder takes it.
    ///   - classes: row of the image's class table.
    ///   - slots: the domain of each image.
    ///   - cacheActions: what becomes of each image's blocks; empty runs them all.
    ///   - ahead: rows of the calls to come, the next first: their conditioning is computed along with that of this call.
    ///   - out: (n, Cout S S).
    package func forward(
        x: Matrix, times: [Float], classes: [Int], slots: [Int], cacheActions: [ResidualCacheAction] = [], ahead: () -> [ConditionedRow] = { [] },
        into out: Matrix
    ) {
        let cacheAction = { (image: Int) in cacheActions.isEmpty ? ResidualCacheAction.run : cacheActions[image] }
        let domains = slots.map { adapterSlots.tunables[$0] }
        let rows = zip(times, zip(classes, slots)).map { ConditionedRow(time: $0, classRow: $1.0, slot: $1.1) }
        let places = modulations.places(of: rows, ahead: ahead, adapterSlots: adapterSlots, model: model, group: .pool(pool))
        let conditioning = modulations.state
        let dealt = x.rows / pool.threadCount * pool.threadCount
        pool.run { thread in
            for image in stride(from: thread, to: dealt, by: pool.threadCount) {
                model.forward(
                    lanePasses[thread], x: x.row(image), conditioning: conditioning, row: places[image], tunables: domains[image],
                    cacheAction: cacheAction(image), into: out.row(image))
            }
        }
        for image in dealt..<x.rows {
            model.forward(
                sharedPass, x: x.row(image), conditioning: conditioning, row: places[image], tunables: domains[image],
                cacheAction: cacheAction(image), group: .pool(pool), into: out.row(image))
        }
    }
}
