import AdapterFormat
import DiTModel
import Diffusion
import TensorMath

/// What one image asks of a network call: the parts of its prediction, and what they are guided away from.
package struct GuidedPrediction: Sendable {
    /// A row of the call.
    package struct Row: Sendable {
        package let slot: Int
        /// Row of the adapter's class table.
        package let classRow: Int

        package init(slot: Int, classRow: Int) {
            self.slot = slot
            self.classRow = classRow
        }
    }

    /// One prediction of the network.
    package struct Part: Sendable {
        package let row: Row
        /// Row of the null class in the same adapter's class table.
        package let nullClass: Int
        /// Its share of the sum of predictions.
        package let weight: Float

        package init(_ row: Row, nullClass: Int, weight: Float = 1) {
            self.row = row
            self.nullClass = nullClass
            self.weight = weight
        }
    }

    package enum Guidance: Sendable {
        case none
        /// Each part away from its own null class.
        case cfg(scale: Float)
        /// The sum of the parts away from one other row (Domain Guidance, arXiv 2504.01521).
        case domain(Row, scale: Float)
    }

    package let parts: [Part]
    package let guidance: Guidance

    package init(parts: [Part], guidance: Guidance = .none) {
        self.parts = parts
        self.guidance = guidance
    }

    /// One adapter's prediction of one class, guided away from the adapter's null class where it has one.
    package init(slot: Int, classRow: Int, of classes: ClassTable, guidanceScale: Float = 1) {
        self.init(
            parts: [Part(Row(slot: slot, classRow: classRow), nullClass: classes.nullClass)],
            guidance: guidanceScale != 1 && classes.hasNullRow ? .cfg(scale: guidanceScale) : .none)
    }

    /// The rows of the call: one per part, then those that guidance needs.
    package var rows: [Row] {
        let conditional = parts.map(\.row)
        return switch guidance {
        case .none: conditional
        case .cfg: conditional + parts.map { Row(slot: $0.row.slot, classRow: $0.nullClass) }
        case .domain(let row, _): conditional + [row]
        }
    }

    /// Guides and adds the outputs of `rows`; the result lies in the first.
    /// - Parameter guided: values at the front of an output that guidance acts on.
    func combine(_ outputs: [Matrix], guided: Int) {
        let predictions = zip(parts, outputs).map { WeightedPrediction(weight: $0.weight, output: $1) }
        switch guidance {
        case .none: Diffusion.Guidance.mix(predictions)
        case .cfg(let scale):
            for part in parts.indices {
                Diffusion.Guidance.apply(scale: scale, guided: guided, conditional: outputs[part], unconditional: outputs[parts.count + part])
            }
            Diffusion.Guidance.mix(predictions)
        case .domain(_, let scale):
            Diffusion.Guidance.mix(predictions)
            Diffusion.Guidance.apply(scale: scale, guided: guided, conditional: outputs[0], unconditional: outputs[parts.count])
        }
    }
}

/// Network calls of one resolution for images that are guided each in its own way, with the memory of what goes in and comes out.
package final class GuidedBatch {
    /// One image of a call.
    package struct Image {
        /// x, (C S S).
        package let latent: Matrix
        /// t as the embedder takes it.
        package let time: Float
        package let prediction: GuidedPrediction
        /// What becomes of the blocks of each of the prediction's rows; empty runs them all.
        package let cacheActions: [ResidualCacheAction]

        package init(_ latent: Matrix, time: Float, _ prediction: GuidedPrediction, cacheActions: [ResidualCacheAction] = []) {
            self.latent = latent
            self.time = time
            self.prediction = prediction
            self.cacheActions = cacheActions
        }
    }

    /// What the last call was shown and gave, a line per row of the call.
    private let x, out: Matrix
    private let batch: DiTBatch
    /// Values at the front of an output that guidance acts on.
    private let guided: Int

    /// - Parameter rows: of one call at most.
    package init(_ model: InferenceDiT, adapterSlots: AdapterSlots, rows: Int, pool: ThreadPool) {
        let c = model.configuration
        let plane = c.inputSize * c.inputSize
        let memory = Memory(capacity: Memory.paddedCount(rows * c.inChannels * plane) + Memory.paddedCount(rows * c.outChannels * plane))
        x = memory.take(rows, c.inChannels * plane)
        out = memory.take(rows, c.outChannels * plane)
        guided = model.preset.guidedChannels(of: c.inChannels) * plane
        batch = DiTBatch(model, adapterSlots: adapterSlots, rows: rows, pool: pool)
    }

    /// Values of one latent.
    package var latentCount: Int { x.columns }
    /// Values of one output.
    package var outputCount: Int { out.columns }

    /// May give way to a larger one between calls.
    package var adapterSlots: AdapterSlots {
        get { batch.adapterSlots }
        set { batch.adapterSlots = newValue }
    }

    /// One network call for all images.
    /// - Parameter ahead: rows of the calls to come, the next first, given how many rows this one has.
    /// - Returns: the guided prediction of each image, (Cout S S); good until the next call.
    package func predict(_ images: [Image], ahead: (_ rows: Int) -> [ConditionedRow] = { _ in [] }) -> [Matrix] {
        let rowsOfImages = images.map(\.prediction.rows)
        let rows = rowsOfImages.flatMap { $0 }
        var first = 0
        let places = rowsOfImages.map { own in
            defer { first += own.count }
            return first..<(first + own.count)
        }
        for (image, place) in zip(images, places) {
            for row in place { x.row(row).copy(from: image.latent) }
        }
        let isCached = images.contains { !$0.cacheActions.isEmpty }
        batch.forward(
            x: x.rows(0..<rows.count), times: zip(images, places).flatMap { image, place in place.map { _ in image.time } },
            classes: rows.map(\.classRow), slots: rows.map(\.slot),
            cacheActions: !isCached
                ? []
                : zip(images, places).flatMap { image, place in
                    image.cacheActions.isEmpty ? place.map { _ in .run } : image.cacheActions
                },
            ahead: { ahead(rows.count) }, into: out.rows(0..<rows.count))
        return zip(images, places).map { image, place in
            let outputs = place.map(out.row)
            image.prediction.combine(outputs, guided: guided)
            return outputs[0]
        }
    }
}
