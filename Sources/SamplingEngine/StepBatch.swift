import AdapterFormat
import DiTModel
import DiTPipeline
import Diffusion
import TensorMath

/// An image in the batch.
struct RunningImage {
    let id: Scheduler.ImageID
    let order: ImageOrder
    let stepPlan: StepPlan
    /// The slot of each adapter.
    private(set) var slots: [Digest: Int]
    let state: SamplerState
    /// Noise per network call, where it was given.
    let stepNoise: [Matrix]
    /// What the blocks added lately, of a conditional and an unconditional row; empty without a cache.
    let residuals: [ResidualCache]

    var call: StepPlan.Call { stepPlan.calls[state.position] }

    /// Takes adapter slots for its adapters, in the order in which they come.
    mutating func hold(_ held: [Int]) { slots = Dictionary(uniqueKeysWithValues: zip(stepPlan.adapters(from: state.position), held)) }
}

/// The memory of the batch, and the network call that moves every image in it by a step: one call for each resolution that is
/// in it, all over the same matrices and the same slots.
final class StepBatch {
    /// By grid, nil for the base's own; others are built for the first image that has them.
    private var networks: [ImageGrid?: GuidedBatch]
    /// When a network of another size was last asked for.
    private var lastUse: [ImageGrid: UInt64] = [:]
    private let networkLimit: Int
    private let model: InferenceDiT
    private let pool: ThreadPool
    private let rowCapacity: Int
    private var adapterSlots: AdapterSlots
    private let base: BoundAdapter
    /// What each adapter slot holds.
    private var installed: [BoundAdapter?]

    init(_ base: BaseFile, rows: Int, slots: Int, pool: ThreadPool, precision: Precision, preset: Preset, networkLimit: Int) throws {
        self.networkLimit = networkLimit
        self.base = BoundAdapter(base)
        rowCapacity = rows
        self.pool = pool
        model = try InferenceDiT(base, precision: precision, preset: preset)
        installed = [BoundAdapter?](repeating: nil, count: slots)
        adapterSlots = AdapterSlots(base.layout, count: slots, classRows: base.classes.rows)
        networks = [nil: GuidedBatch(model, adapterSlots: adapterSlots, rows: rows, pool: pool)]
    }

    /// Builds what images of a grid need, over the same matrices, and lets go of what was longest not needed.
    /// - Parameter keeping: grids of images that are on their way.
    func prepare(_ grid: ImageGrid?, keeping: Set<ImageGrid?>) throws(TensorMathError) {
        guard let grid else { return }
        let isNew = networks[grid] == nil
        if isNew { networks[grid] = GuidedBatch(try model.fitting(grid), adapterSlots: adapterSlots, rows: rowCapacity, pool: pool) }
        lastUse[grid] = (lastUse.values.max() ?? 0) + 1
        guard isNew else { return }
        while networkBytes > networkLimit,
            let oldest = lastUse.filter({ $0.key != grid && !keeping.contains($0.key) }).min(by: { $0.value < $1.value })?.key
        {
            networks[oldest] = nil
            lastUse[oldest] = nil
        }
    }

    /// Why images of a grid cannot be made; found without building anything.
    func refusal(of grid: ImageGrid?, limit: Int) -> String? {
        guard let grid, networks[grid] == nil else { return nil }
        if let fault = model.configuration.fault(of: grid) { return fault }
        let bytes = DiTBatch.bytes(model, fitting: grid, rows: rowCapacity, threads: pool.threadCount)
        return bytes > limit ? "it takes \(bytes >> 20) MB beside the base's own network, and \(limit >> 20) MB are allowed for all sizes (--network-mb)" : nil
    }

    var otherSizes: Int { networks.count - 1 }
    /// Of all sizes but the base's own.
    var networkBytes: Int { lastUse.keys.reduce(0) { $0 + DiTBatch.bytes(model, fitting: $1, rows: rowCapacity, threads: pool.threadCount) } }

    private func network(_ grid: ImageGrid?) -> GuidedBatch {
        guard let found = networks[grid] else { preconditionFailure("no network was prepared for \(size(grid)) pixels") }
        return found
    }

    /// Side of an image.
    func size(_ grid: ImageGrid?) -> Int { grid?.size ?? model.configuration.inputSize }
    /// Rows of the base's own size that a row of an image is about as much work as.
    func weight(of grid: ImageGrid?) -> Int {
        let (side, own) = (size(grid), size(nil))
        return (side * side + own * own - 1) / (own * own)
    }

    /// Values of one latent.
    func latentCount(_ grid: ImageGrid?) -> Int { model.configuration.inChannels * size(grid) * size(grid) }
    /// Room for what the blocks add to one image.
    func residualCache(_ grid: ImageGrid?) -> ResidualCache {
        var configuration = model.configuration
        configuration.inputSize = size(grid)
        return ResidualCache(configuration.tokens, configuration.hiddenSize)
    }

    var slotBytes: Int { adapterSlots.bytes }

    /// The hot swap. A class table larger than any before makes the slots larger first.
    func install(_ adapter: BoundAdapter, slot: Int) {
        installed[slot] = adapter
        if adapter.classes.rows > adapterSlots.classRows {
            adapterSlots = AdapterSlots(adapterSlots.layout, count: installed.count, classRows: adapter.classes.rows)
            for (slot, kept) in installed.enumerated() {
                if let kept { adapterSlots.install(kept.vector, kept.classes, slot: slot) }
            }
            for network in networks.values { network.adapterSlots = adapterSlots }
        } else {
            adapterSlots.install(adapter.vector, adapter.classes, slot: slot)
        }
    }

    /// One network call for every image at its own place on its way.
    /// - Returns: rows of the calls.
    func step(_ images: [RunningImage]) -> Int {
        let sizes = Dictionary(grouping: images, by: \.order.grid)
        return sizes.sorted { size($0.key) < size($1.key) }.reduce(0) { $0 + step($1.value, network($1.key)) }
    }

    private func step(_ images: [RunningImage], _ network: GuidedBatch) -> Int {
        let predictions = images.map { prediction(of: $0, at: $0.call) }
        let outputs = network.predict(
            zip(images, predictions).map { image, prediction in
                GuidedBatch.Image(image.state.latent, time: image.state.embedderTime, prediction, cacheActions: cacheActions(of: image))
            },
            ahead: { rowsAhead(images, atOnce: $0) })
        for (image, output) in zip(images, outputs) {
            image.state.advance(output, noise: image.stepNoise.isEmpty ? nil : image.stepNoise[image.state.position])
        }
        return predictions.reduce(0) { $0 + $1.rows.count }
    }

    /// The rows of the calls after this one, as far as they are worth computing at once.
    private func rowsAhead(_ images: [RunningImage], atOnce rows: Int) -> [ConditionedRow] {
        (1...max(1, DiTBatch.rowsAhead / rows)).flatMap { later in
            images.filter { $0.state.position + later < $0.stepPlan.calls.count }.flatMap { image in
                let position = image.state.position + later
                return prediction(of: image, at: image.stepPlan.calls[position]).rows.map {
                    ConditionedRow(time: image.state.plan.embedderTime(position), classRow: $0.classRow, slot: $0.slot)
                }
            }
        }
    }

    /// A part per part of the image's stage, guided as the image asks for at that call.
    private func prediction(of image: RunningImage, at call: StepPlan.Call) -> GuidedPrediction {
        func row(_ adapter: BoundAdapter, _ classIndex: Int) -> GuidedPrediction.Row {
            guard let slot = image.slots[adapter.key] else { preconditionFailure("no adapter slot holds \(adapter.key)") }
            return GuidedPrediction.Row(slot: slot, classRow: classIndex)
        }
        let parts = image.order.stages[call.stage].parts.map {
            GuidedPrediction.Part(row($0.adapter, $0.classIndex), nullClass: $0.adapter.classes.nullClass, weight: $0.weight)
        }
        let guidance = image.order.guidance
        return switch call.isGuided ? guidance.kind : .none {
        case .none, .distilled: GuidedPrediction(parts: parts)
        case .cfg: GuidedPrediction(parts: parts, guidance: .cfg(scale: guidance.scale))
        case .domain: GuidedPrediction(parts: parts, guidance: .domain(row(base, base.classes.nullClass), scale: guidance.scale))
        }
    }

    /// Of the rows of the image's call; none without a cache.
    private func cacheActions(of image: RunningImage) -> [ResidualCacheAction] {
        guard let runs = image.order.cache else { return [] }
        let position = image.state.position
        return image.residuals.prefix(image.call.rows).map { $0.cacheAction(at: position, runs: runs[position]) }
    }
}

extension BoundAdapter {
    /// The base as an adapter of itself.
    package init(_ base: BaseFile) { self.init(name: "base", digest: base.digest, vector: base.vector, classes: base.classes, grid: nil) }
}
