import AdapterFormat
import DiTModel
import Diffusion
import TensorMath

/// An image in the batch.
struct RunningImage {
    let id: Scheduler.ImageID
    let order: ImageOrder
    let walk: ImageWalk
    /// The bank's rows by what they hold.
    let bankRows: [Digest: Int]
    let state: SamplerState
    /// Noise per network call, where it was given.
    let stepNoise: [Matrix]
    /// What the blocks added lately, of a conditional and an unconditional row; empty without a cache.
    let residuals: [ResidualCache]

    var call: ImageWalk.Call { walk.calls[state.position] }
}

/// The memory of the batch, and the one network call that moves every image in it by a step.
final class StepBatch {
    private let batch: DiTBatch
    private let configuration: DiTConfiguration
    private let x, out: Matrix
    private let guidedChannels: Int
    private let base: BoundAdapter
    /// What each row of the bank holds.
    private var installed: [BoundAdapter?]

    init(_ base: BaseFile, rows: Int, bankRows: Int, pool: ComputePool, precision: Precision, preset: Preset) throws {
        configuration = base.configuration
        guidedChannels = preset.guidedChannels(of: base.configuration.inChannels)
        self.base = BoundAdapter(base)
        let plane = configuration.inputSize * configuration.inputSize
        let inCount = configuration.inChannels * plane, outCount = configuration.outChannels * plane
        let memory = Memory(capacity: Memory.paddedCount(rows * inCount) + Memory.paddedCount(rows * outCount))
        x = memory.take(rows, inCount)
        out = memory.take(rows, outCount)
        installed = [BoundAdapter?](repeating: nil, count: bankRows)
        let bank = TunableBank(base.layout, rows: bankRows, classRows: base.classes.rows)
        batch = DiTBatch(try PackedDiT(base, precision: precision, preset: preset), bank: bank, rows: rows, pool: pool)
    }

    /// Values of one latent.
    var latentCount: Int { x.columns }
    var bankBytes: Int { batch.bank.bytes }

    /// The hot swap. A class table larger than any before makes the bank larger first.
    func install(_ adapter: BoundAdapter, row: Int) {
        installed[row] = adapter
        if adapter.classes.rows > batch.bank.classRows {
            batch.bank = TunableBank(batch.bank.layout, rows: installed.count, classRows: adapter.classes.rows)
            for (row, kept) in installed.enumerated() {
                if let kept { batch.bank.install(kept.vector, kept.classes, row: row) }
            }
        } else {
            batch.bank.install(adapter.vector, adapter.classes, row: row)
        }
    }

    func read(row: Int) -> TunableVector { batch.bank.read(row: row) }

    /// One network call for every image at its own place on its way.
    /// - Returns: rows of the call.
    func step(_ images: [RunningImage]) -> Int {
        let rows = images.map { self.rows(of: $0, at: $0.call) }
        let all = rows.flatMap { $0 }
        var next = 0
        for (image, own) in zip(images, rows) {
            for _ in own {
                x.row(next).copy(from: image.state.latent)
                next += 1
            }
        }
        batch.forward(
            x: x.rows(0..<all.count), times: zip(images, rows).flatMap { image, own in own.map { _ in image.state.embedderTime } },
            classes: all.map(\.classIndex), bankRows: all.map(\.bankRow),
            stacks: images.contains { !$0.residuals.isEmpty } ? zip(images, rows).flatMap(stacks) : [],
            ahead: { rowsAhead(images, atOnce: all.count) },
            into: out.rows(0..<all.count))
        next = 0
        for (image, own) in zip(images, rows) {
            let outputs = own.indices.map { out.row(next + $0) }
            combine(outputs, of: image)
            let noise = image.stepNoise.isEmpty ? nil : image.stepNoise[image.state.position]
            image.state.advance(outputs[0], noise: noise)
            next += own.count
        }
        return all.count
    }

    /// The rows of the calls after this one, as far as they are worth computing at once.
    private func rowsAhead(_ images: [RunningImage], atOnce rows: Int) -> [ConditionedRow] {
        (1...max(1, DiTBatch.rowsAhead / rows)).flatMap { later in
            images.filter { $0.state.position + later < $0.walk.calls.count }.flatMap { image in
                let position = image.state.position + later
                return self.rows(of: image, at: image.walk.calls[position]).map {
                    ConditionedRow(time: image.state.plan.embedderTime(position), classRow: $0.classIndex, bankRow: $0.bankRow)
                }
            }
        }
    }

    /// A row per part of the image's stage; guided, then a row of each part's null class, or one of the base's.
    private func rows(of image: RunningImage, at call: ImageWalk.Call) -> [(bankRow: Int, classIndex: Int)] {
        let parts = image.order.stages[call.stage].parts
        func row(_ adapter: BoundAdapter, _ classIndex: Int) -> (bankRow: Int, classIndex: Int) {
            guard let bankRow = image.bankRows[adapter.key] else { preconditionFailure("no row of the bank holds \(adapter.key)") }
            return (bankRow, classIndex)
        }
        let conditional = parts.map { row($0.adapter, $0.classIndex) }
        guard call.isGuided else { return conditional }
        if image.order.guidance.kind == .domain { return conditional + [row(base, base.classes.nullClass)] }
        return conditional + parts.map { row($0.adapter, $0.adapter.classes.nullClass) }
    }

    private func stacks(of image: RunningImage, rows: [(bankRow: Int, classIndex: Int)]) -> [BlockStack] {
        guard let runs = image.order.cache else { return rows.map { _ in .run } }
        return rows.indices.map { image.residuals[$0].stack(at: image.state.position, runs: runs[image.state.position]) }
    }

    /// Guides and adds the outputs of one image's rows; the result lies in the first.
    private func combine(_ outputs: [Matrix], of image: RunningImage) {
        let parts = image.order.stages[image.call.stage].parts
        let predictions = zip(parts, outputs).map { (weight: $0.weight, output: $1) }
        let guided = guidedChannels * configuration.inputSize * configuration.inputSize
        let scale = image.order.guidance.scale
        switch image.call.isGuided ? image.order.guidance.kind : .none {
        case .none: Guidance.mix(predictions)
        case .cfg:
            for part in parts.indices {
                Guidance.apply(scale: scale, guided: guided, conditional: outputs[part], unconditional: outputs[parts.count + part])
            }
            Guidance.mix(predictions)
        case .domain:
            Guidance.mix(predictions)
            Guidance.apply(scale: scale, guided: guided, conditional: outputs[0], unconditional: outputs[parts.count])
        }
    }
}

extension BoundAdapter {
    /// The base as an adapter of itself.
    init(_ base: BaseFile) { self.init(name: "base", digest: base.digest, vector: base.vector, classes: base.classes) }
}
