import AdapterFormat
import TensorMath

extension PackedDiT {
    /// Sixteen values of one fixed network call with an adapter in place: kept in the adapter's manifest, they show later, on
    /// any machine, that the adapter is applied, on this base, by this build.
    ///
    /// Values rather than a digest of them: another processor or library rounds otherwise, and no digest survives that.
    package func goldenValues(_ vector: TunableVector, _ classes: ClassTable, layout: TunableLayout) -> [Float] {
        let c = configuration
        let plane = c.inputSize * c.inputSize
        let adapterSlots = AdapterSlots(layout, count: 1, classRows: classes.rows)
        adapterSlots.install(vector, classes, slot: 0)
        let batch = DiTBatch(self, adapterSlots: adapterSlots, rows: 1, pool: ThreadPool(threads: 1))
        let memory = Memory(capacity: Memory.paddedCount(c.inChannels * plane) + Memory.paddedCount(c.outChannels * plane))
        let x = memory.take(c.inChannels * plane), out = memory.take(c.outChannels * plane)
        Philox(seed: 0, stream: 0).normals(into: x)
        batch.forward(x: x, times: [500], classes: [0], slots: [0], into: out)
        let values = out.array
        return (0..<16).map { values[$0 * values.count / 16] }
    }

    /// The same of a whole adapter, at the resolution that it was trained at.
    package func goldenValues(of adapter: Adapter, over base: TunableLayout) throws -> [Float] {
        try fitting(adapter.manifest.imageGrid).goldenValues(adapter.vector, adapter.classes, layout: base)
    }

    /// Whether two calls gave the same, but for rounding.
    package static func agree(_ a: [Float], _ b: [Float]) -> Bool {
        let largest = b.reduce(0) { max($0, abs($1)) }
        return a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= 1e-3 * largest }
    }
}
