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
    ///   - onOutput: sees the guided output of each call.
    package func sample(
        _ plan: SamplingPlan, labels: [Int], seed: UInt64, from first: Int = 0, visit: (_ call: Int, _ image: Int, _ latent: Matrix) -> Void,
        onData: (_ call: Int, _ image: Int, _ data: Matrix) -> Void = { _, _, _ in },
        onOutput: (_ call: Int, _ image: Int, _ output: Matrix) -> Void = { _, _, _ in }
    ) {
        let states = labels.indices.map { SamplerState(plan, count: latentCount, seed: seed, image: UInt64(first + $0)) }
        let latents = states.map(\.latent)
        for call in 0..<plan.evaluations {
            for (image, latent) in latents.enumerated() { visit(call, image, latent) }
            predict(latents, labels: labels, time: plan.rules[call].time) {
                onOutput(call, $0, $1)
                states[$0].advance($1)
                onData(call, $0, states[$0].predictedData)
            }
        }
        for (image, latent) in latents.enumerated() { visit(plan.evaluations, image, latent) }
    }
}

/// The guided sampling of domains over a frozen base. A label is a class of the first domain, or with the number of classes before it
/// of a later one.
package final class GuidedTeacher: Teacher {
    package let convention: DiffusionConvention
    /// Of another scale where a dial is measured.
    package internal(set) var guidance: ImageGuidance
    package let clips: Bool
    package let domains: [TeacherDomain]
    /// That the domains are of.
    package let base: BaseFile
    private let batch: GuidedBatch
    /// Images of one network call.
    private let images: Int
    /// Slot and class of each label.
    private let places: [GuidedPrediction.Row]

    /// - Parameters:
    ///   - images: of one network call at most.
    package init(
        _ base: BaseFile, _ domains: [TeacherDomain], grid: ImageGrid? = nil, guidance: ImageGuidance, precision: Precision = .f32,
        images: Int = 32, pool: ThreadPool
    ) throws {
        convention = try DiffusionConvention(base)
        clips = base.configuration.inChannels == 3
        self.guidance = guidance
        self.domains = domains
        self.images = images
        self.base = base
        let rows = domains.reduce(base.classes.rows) { max($0, $1.classes.rows) }
        let adapterSlots = AdapterSlots(base.layout, count: domains.count + 2, classRows: rows)
        adapterSlots.install(base.vector, base.classes, slot: domains.count)
        places = domains.enumerated().flatMap { slot, domain in
            domain.classes.names.indices.map { GuidedPrediction.Row(slot: slot, classRow: $0) }
        }
        let model = try InferenceDiT(base, precision: precision, preset: Preset(base.card)).fitting(grid)
        batch = GuidedBatch(model, adapterSlots: adapterSlots, rows: 2 * images, pool: pool)
        for slot in domains.indices { install(domain: slot, strength: 1) }
    }

    package var latentCount: Int { batch.latentCount }
    package var outputCount: Int { batch.outputCount }
    package var labelCount: Int { places.count }

    /// Labels of one domain.
    package func labels(ofDomain domain: Int) -> Range<Int> {
        let first = domains[..<domain].reduce(0) { $0 + $1.classes.names.count }
        return first..<(first + domains[domain].classes.names.count)
    }

    /// From now on a domain stands so far from the base.
    /// - Returns: the domain so.
    @discardableResult package func install(domain: Int, strength: Float) -> TeacherDomain {
        let shown = domains[domain].scaled(by: strength, over: base)
        batch.adapterSlots.install(shown.vector, shown.classes, slot: domain)
        return shown
    }

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

    /// Outputs of a vector of its own, one row an image: a student's, of which no gradient is wanted.
    package func predict(
        _ vector: TunableVector, _ classes: ClassTable, _ latents: [Matrix], classRows: [Int], time: Double,
        _ body: (_ image: Int, _ output: Matrix) -> Void
    ) {
        predict(vector, classes, latents, classRows: classRows, times: [Double](repeating: time, count: latents.count), body)
    }

    /// The same, each image at a time of its own.
    package func predict(
        _ vector: TunableVector, _ classes: ClassTable, _ latents: [Matrix], classRows: [Int], times: [Double],
        _ body: (_ image: Int, _ output: Matrix) -> Void
    ) {
        let slot = domains.count + 1
        batch.adapterSlots.install(vector, classes, slot: slot)
        for first in stride(from: 0, to: latents.count, by: images) {
            let part = first..<min(first + images, latents.count)
            let outputs = batch.predict(
                part.map { image in
                    let row = GuidedPrediction.Part(.init(slot: slot, classRow: classRows[image]), nullClass: classes.nullClass)
                    return GuidedBatch.Image(latents[image], time: convention.embedderTime(times[image]), GuidedPrediction(parts: [row]))
                })
            for (image, output) in zip(part, outputs) { body(image, output) }
        }
    }

    private func prediction(of label: Int, isGuided: Bool) -> GuidedPrediction {
        let place = places[label]
        let part = GuidedPrediction.Part(place, nullClass: domains[place.slot].classes.nullClass)
        return switch isGuided ? guidance.kind : .none {
        case .none, .distilled: GuidedPrediction(parts: [part])
        case .cfg: GuidedPrediction(parts: [part], guidance: .cfg(scale: guidance.scale))
        case .domain:
            GuidedPrediction(parts: [part], guidance: .domain(.init(slot: domains.count, classRow: base.classes.nullClass), scale: guidance.scale))
        }
    }
}
