import AdapterFormat
import DiTModel
import DiTPipeline
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
        let adapterSlots = AdapterSlots(layout, count: 1, classRows: table.rows)
        adapterSlots.install(vector, table, slot: 0)
        let labels = (0..<perClass).flatMap { _ in classes }
        let batch = GuidedBatch(try InferenceDiT(model), adapterSlots: adapterSlots, rows: 2 * labels.count, pool: pool)
        let states = labels.indices.map { SamplerState(plan, count: batch.latentCount, seed: seed, image: UInt64($0)) }
        let predictions = labels.map { GuidedPrediction(slot: 0, classRow: $0, of: table, guidanceScale: guidanceScale) }
        for _ in 0..<plan.evaluations {
            let outputs = batch.predict(zip(states, predictions).map { GuidedBatch.Image($0.latent, time: $0.embedderTime, $1) })
            for (state, output) in zip(states, outputs) { state.advance(output) }
        }
        return contactSheet(states.map { RGBImage($0.latent.array, side: c.inputSize, halvesUp: false) }, columns: classes.count)
    }
}
