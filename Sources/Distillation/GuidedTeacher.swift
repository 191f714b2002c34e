import AdapterFormat
import DiTModel
import DiTPipeline
import Diffusion
import TensorMath

/// What solvers are fitted to and vectors are distilled from: predictions of the data for any images at any time.
package protocol Teacher {
    var convention: DiffusionConvention { get }
    var guidance: ImageGuidance { get }
    /// Whether predictions of the data are clamped to -1...1, as in sampling pixels.
    var clips: Bool { get }
    /// Values of one latent.
    var latentCount: Int { get }

    /// The guided outputs, handed to `body` one image after the other.
    /// - Parameters:
    ///   - latents: x at time t.
    ///   - labels: class rows.
    ///   - body: is given the image's place and its output, (Cout S S), good during the call.
    func predict(_ latents: [Matrix], labels: [Int], time: Double, _ body: (_ image: Int, _ output: Matrix) -> Void)
}

extension Teacher {
    /// Whether a call at t is guided, and costs a row more.
    package func isGuided(at time: Double) -> Bool { guidance.acts(at: convention.path.noiseLevel(time)) }

    /// Takes images through a whole plan.
    /// - Parameters:
    ///   - labels: class rows, one per image.
    ///   - first: number of the first image; image k draws the noise of (seed, k).
    ///   - visit: sees every latent before each call, and after the last one with the number of calls.
    ///   - onData: sees the data as each call predicts them.
    package func sample(
        _ plan: SamplingPlan, labels: [Int], seed: UInt64, from first: Int = 0, visit: (_ call: Int, _ image: Int, _ latent: Matrix) -> Void,
        onData: (_ call: Int, _ image: Int, _ data: Matrix) -> Void = { _, _, _ in }
    ) {
        let states = labels.indices.map { SamplerState(plan, count: latentCount, seed: seed, image: UInt64(first + $0)) }
        let latents = states.map(\.latent)
        for call in 0..<plan.evaluations {
            for (image, latent) in latents.enumerated() { visit(call, image, latent) }
            predict(latents, labels: labels, time: plan.rules[call].time) {
                states[$0].advance($1)
                onData(call, $0, states[$0].predictedData)
            }
        }
        for (image, latent) in latents.enumerated() { visit(plan.evaluations, image, latent) }
    }
}

/// The guided sampling of one adapter over a frozen base.
package final class GuidedTeacher: Teacher {
    package let convention: DiffusionConvention
    package let guidance: ImageGuidance
    package let clips: Bool
    private let batch: GuidedBatch
    private let classes: ClassTable
    private let baseClasses: ClassTable
    /// Images of one network call.
    private let images: Int

    /// - Parameters:
    ///   - images: of one network call at most.
    package init(
        _ base: BaseFile, _ vector: TunableVector, _ classes: ClassTable, grid: ImageGrid? = nil, guidance: ImageGuidance, precision: Precision = .f32,
        images: Int = 32, pool: ThreadPool
    ) throws {
        convention = try DiffusionConvention(base)
        clips = base.configuration.inChannels == 3
        self.guidance = guidance
        self.classes = classes
        self.images = images
        baseClasses = base.classes
        let adapterSlots = AdapterSlots(base.layout, count: 2, classRows: max(base.classes.rows, classes.rows))
        adapterSlots.install(vector, classes, slot: 0)
        adapterSlots.install(base.vector, base.classes, slot: 1)
        let model = try InferenceDiT(base, precision: precision, preset: Preset(base.card)).fitting(grid)
        batch = GuidedBatch(model, adapterSlots: adapterSlots, rows: 2 * images, pool: pool)
    }

    package var latentCount: Int { batch.latentCount }

    package func predict(_ latents: [Matrix], labels: [Int], time: Double, _ body: (_ image: Int, _ output: Matrix) -> Void) {
        let isGuided = isGuided(at: time)
        for first in stride(from: 0, to: latents.count, by: images) {
            let part = first..<min(first + images, latents.count)
            let outputs = batch.predict(
                part.map {
                    GuidedBatch.Image(latents[$0], time: convention.embedderTime(time), prediction(of: labels[$0], isGuided: isGuided))
                })
            for (image, output) in zip(part, outputs) { body(image, output) }
        }
    }

    private func prediction(of label: Int, isGuided: Bool) -> GuidedPrediction {
        let part = GuidedPrediction.Part(.init(slot: 0, classRow: label), nullClass: classes.nullClass)
        return switch isGuided ? guidance.kind : .none {
        case .none: GuidedPrediction(parts: [part])
        case .cfg: GuidedPrediction(parts: [part], guidance: .cfg(scale: guidance.scale))
        case .domain: GuidedPrediction(parts: [part], guidance: .domain(.init(slot: 1, classRow: baseClasses.nullClass), scale: guidance.scale))
        }
    }
}
