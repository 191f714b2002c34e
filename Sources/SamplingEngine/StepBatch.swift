import AdapterFormat
import DiTModel
import Diffusion
import TensorMath

/// An image in the batch.
struct RunningImage {
    let id: Scheduler.ImageID
    let order: ImageOrder
    let bankRow: Int
    let state: SamplerState
    /// Noise per network call, where it was given.
    let stepNoise: [Matrix]
}

/// The memory of the batch, and the one network call that moves every image in it by a step.
final class StepBatch {
    private let batch: DiTBatch
    private let configuration: DiTConfiguration
    private let x, out: Matrix
    /// What each row of the bank holds.
    private var installed: [BoundAdapter?]

    init(_ base: BaseFile, rows: Int, bankRows: Int, pool: ComputePool, precision: Precision, preset: Preset) throws {
        configuration = base.configuration
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

    /// The rows of the calls after this one, as far as they are known now and worth computing at once.
    private func rowsAhead(_ images: [RunningImage], _ order: [Int], _ classes: [Int]) -> [ConditionedRow] {
        let calls = max(1, DiTBatch.rowsAhead / order.count)
        return (1...calls).flatMap { call in
            zip(order, classes).compactMap { index, classRow in
                let (state, bankRow) = (images[index].state, images[index].bankRow)
                guard state.position + call < state.plan.evaluations else { return nil }
                return ConditionedRow(time: state.plan.embedderTime(state.position + call), classRow: classRow, bankRow: bankRow)
            }
        }
    }

    /// One network call: a row per image, and one more of its null class where it is guided.
    /// - Returns: rows of the call.
    func step(_ images: [RunningImage]) -> Int {
        let guided = images.indices.filter { images[$0].order.isGuided }
        let order = Array(images.indices) + guided
        for (row, image) in order.enumerated() { x.row(row).copy(from: images[image].state.latent) }
        let output = out.rows(0..<order.count)
        let classes = images.map(\.order.classIndex) + guided.map { images[$0].order.adapter.classes.nullClass }
        batch.forward(
            x: x.rows(0..<order.count), times: order.map { images[$0].state.embedderTime },
            classes: classes, bankRows: order.map { images[$0].bankRow }, ahead: { rowsAhead(images, order, classes) }, into: output)
        // DiT guides the first three channels; pixels have no others.
        let values = 3 * configuration.inputSize * configuration.inputSize
        for (extra, image) in guided.enumerated() {
            Guidance.apply(
                scale: images[image].order.guidanceScale, guided: values, conditional: output.row(image),
                unconditional: output.row(images.count + extra))
        }
        for (row, image) in images.enumerated() {
            let noise = image.stepNoise.isEmpty ? nil : image.stepNoise[image.state.position]
            image.state.advance(output.row(row), noise: noise)
        }
        return order.count
    }
}
