import AdapterFormat
import DiTModel
import Diffusion
import ImageFiles
import TensorMath

/// A few pictures of a network as it is, always of the same classes, seeds and noise, so that the sheets of a run compare.
package struct SampleSheet: Sendable {
    private let plan: SamplingPlan
    private let guidanceScale: Float
    /// Class rows, `perClass` pictures of each.
    private let classes: [Int]
    private let perClass: Int
    private let seed: UInt64

    package init(_ convention: DiffusionConvention, classes: Int, perClass: Int = 2, seed: UInt64, guidanceScale: Float = 3, steps: Int = 20) throws {
        plan = try SamplingPlan(convention.path == .rectifiedFlow ? .ab2 : .ddim, steps: steps, convention, clips: true)
        self.guidanceScale = guidanceScale
        self.classes = Array(0..<min(classes, 8))
        self.perClass = perClass
        self.seed = seed
    }

    /// One column per class.
    package func draw(_ model: DiT, _ vector: TunableVector, _ table: ClassTable, layout: TunableLayout, pool: ThreadPool) throws -> RGBImage {
        let c = model.configuration
        let plane = c.inputSize * c.inputSize
        let adapterSlots = AdapterSlots(layout, count: 1, classRows: table.rows)
        adapterSlots.install(vector, table, slot: 0)
        let labels = (0..<perClass).flatMap { _ in classes }
        let states = labels.indices.map { SamplerState(plan, count: c.inChannels * plane, seed: seed, image: UInt64($0)) }
        // Without a null class there is nothing to guide by.
        let isGuided = table.hasNullRow
        let rows = isGuided ? 2 * labels.count : labels.count
        let batch = DiTBatch(try InferenceDiT(model), adapterSlots: adapterSlots, rows: rows, pool: pool)
        let memory = Memory(capacity: Memory.paddedCount(rows * c.inChannels * plane) + Memory.paddedCount(rows * c.outChannels * plane))
        let x = memory.take(rows, c.inChannels * plane), out = memory.take(rows, c.outChannels * plane)
        for _ in 0..<plan.evaluations {
            for (row, state) in states.enumerated() {
                x.row(row).copy(from: state.latent)
                if isGuided { x.row(labels.count + row).copy(from: state.latent) }
            }
            batch.forward(
                x: x, times: [Float](repeating: states[0].embedderTime, count: rows), classes: labels + (isGuided ? labels.map { _ in table.nullClass } : []),
                slots: [Int](repeating: 0, count: rows), into: out)
            for (row, state) in states.enumerated() {
                if isGuided {
                    Guidance.apply(
                        scale: guidanceScale, guided: 3 * plane, conditional: out.row(row), unconditional: out.row(labels.count + row))
                }
                state.advance(out.row(row))
            }
        }
        return contactSheet(states.map { RGBImage($0.latent.array, side: c.inputSize, halvesUp: false) }, columns: classes.count)
    }
}
