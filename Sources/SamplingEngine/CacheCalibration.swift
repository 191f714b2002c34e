import AdapterFormat
import DiTModel
import DiTPipeline
import Diffusion
import Foundation
import TensorMath

/// Measures at which network calls of a sampler the blocks of an adapter may be extrapolated.
///
/// Images are sampled in full once; beside them run schedules of rising tolerance. At each call a schedule compares the line
/// through the residuals of its two latest full calls with the true residual, on the conditional row, the domain's null row and
/// the base's (the three rows that guidance may ask for); where the error is within its tolerance it extrapolates, else it runs.
/// Then each schedule samples the same images, and its paired PSNR against the full run decides.
package struct CacheCalibration {
    package let images: Int
    package let guidanceScale: Float
    private let base: BaseFile
    private let adapter: BoundAdapter
    private let plan: SamplingPlan
    private let pool: ThreadPool
    /// Largest relative errors tried, rising.
    private let tolerances: [Double]
    /// Calls at the start that always run; the last does too.
    private static let warmup = 3

    package init(
        _ base: BaseFile, _ adapter: BoundAdapter, _ plan: SamplingPlan, images: Int, guidanceScale: Float, pool: ThreadPool,
        tolerances: [Double] = (0..<16).map { 0.01 * pow(1.35, Double($0)) }
    ) {
        self.base = base
        self.adapter = adapter
        self.plan = plan
        self.images = images
        self.guidanceScale = guidanceScale
        self.pool = pool
        self.tolerances = tolerances
    }

    /// One schedule as it was measured.
    package struct Measured: Sendable {
        package let tolerance: Double
        package let runs: [Bool]
        /// Median over the images, in dB.
        package let psnr: Double
    }

    /// Schedules of rising tolerance, each different from the one before.
    package func measure(with engine: SamplingEngine) async throws -> [Measured] {
        // What is measured are guided images, by either guidance.
        guard adapter.classes.hasNullRow, base.classes.hasNullRow else {
            throw AdmissionError.noNullRow(adapter: adapter.name, isBase: !base.classes.hasNullRow)
        }
        let schedules = try await WorkExecutor("calibration", width: 1).run { try traced() }
        let exact = try await sample(nil, engine)
        var measured: [Measured] = []
        for (tolerance, runs) in schedules where runs != measured.last?.runs && runs.contains(false) {
            let cached = try await sample(runs, engine)
            let psnrs = zip(exact, cached).map { peakSignalToNoise($0, $1, isPixels: engine.isPixelSpace) }
            measured.append(Measured(tolerance: tolerance, runs: runs, psnr: median(psnrs)))
        }
        return measured
    }

    /// The harshest schedule of at least this PSNR, as a profile.
    package func profile(_ level: CacheLevel, _ measured: [Measured], atLeast psnr: Double) -> CacheProfile? {
        measured.filter { $0.psnr >= psnr }.min { $0.runs.count { $0 } < $1.runs.count { $0 } }.map {
            CacheProfile(
                level: level.rawValue, sampler: plan.sampler.rawValue, steps: plan.steps, calls: $0.runs, tolerance: $0.tolerance, psnr: $0.psnr,
                images: images)
        }
    }

    private func order(_ image: Int) -> ImageOrder {
        let classes = max(adapter.classes.names.count, 1)
        return ImageOrder(
            adapter: adapter, classIndex: image % classes, seed: 0x00CA_11B8, index: UInt64(image), guidanceScale: guidanceScale)
    }

    private func sample(_ runs: [Bool]?, _ engine: SamplingEngine) async throws -> [[Float]] {
        let orders = (0..<images).map { index in
            var order = order(index)
            order.cache = runs
            return order
        }
        let request = SamplingRequest(client: "calibrate", images: orders, sampler: plan.sampler, steps: plan.steps)
        return try await engine.sample(request).images.map(\.latent)
    }

    /// Samples every image in full and lets each tolerance decide beside it.
    private func traced() throws -> [(tolerance: Double, runs: [Bool])] {
        let c = base.configuration
        let rows = 0..<(3 * images)
        let adapterSlots = AdapterSlots(base.layout, count: 2, classRows: max(base.classes.rows, adapter.classes.rows))
        adapterSlots.install(adapter.vector, adapter.classes, slot: 0)
        adapterSlots.install(base.vector, base.classes, slot: 1)
        let batch = GuidedBatch(try InferenceDiT(base), adapterSlots: adapterSlots, rows: rows.count, pool: pool)
        let states = (0..<images).map { SamplerState(plan, count: batch.latentCount, seed: order($0).seed, image: UInt64($0)) }
        let guided = (0..<images).map {
            // Both rows are measured, also at scale 1.
            GuidedPrediction(
                parts: [.init(.init(slot: 0, classRow: order($0).stages[0].parts[0].classIndex), nullClass: adapter.classes.nullClass)],
                guidance: .cfg(scale: guidanceScale))
        }
        let ofBase = GuidedPrediction(slot: 1, classRow: base.classes.nullClass, of: base.classes)
        let tracks = tolerances.map { _ in rows.map { _ in ResidualCache(c.tokens, c.hiddenSize) } }
        var runs = tolerances.map { _ in [Bool]() }
        let truth = rows.map { _ in Memory(capacity: Memory.paddedCount(c.tokens * c.hiddenSize)).take(c.tokens, c.hiddenSize) }
        for call in 0..<plan.evaluations {
            let outputs = batch.predict(
                (0..<images).map { image in
                    GuidedBatch.Image(
                        states[image].latent, time: states[image].embedderTime, guided[image],
                        cacheActions: [.keep(truth[image]), .keep(truth[images + image])])
                }
                    + (0..<images).map { image in
                        GuidedBatch.Image(states[image].latent, time: states[image].embedderTime, ofBase, cacheActions: [.keep(truth[2 * images + image])])
                    })
            for (index, tolerance) in tolerances.enumerated() {
                let mustRun = call < Self.warmup || call == plan.evaluations - 1
                let isRun = mustRun || error(of: tracks[index], truth, at: call) > tolerance
                runs[index].append(isRun)
                if isRun { for row in rows { tracks[index][row].take(truth[row], at: call) } }
            }
            for image in 0..<images { states[image].advance(outputs[image]) }
        }
        return Array(zip(tolerances, runs))
    }

    /// The largest of the three kinds' mean relative errors, in the sum of absolute values.
    private func error(of track: [ResidualCache], _ truth: [Matrix], at call: Int) -> Double {
        let errors = track.indices.map { row -> Double in
            var (difference, size) = (0.0, 0.0)
            track[row].extrapolated(to: call).withSpan { line in
                truth[row].withSpan { truth in
                    for i in line.indices {
                        difference += Double(abs(line[i] - truth[i]))
                        size += Double(abs(truth[i]))
                    }
                }
            }
            return difference / max(size, .leastNormalMagnitude)
        }
        return (0..<3).map { kind in errors[(kind * images)..<((kind + 1) * images)].reduce(0, +) / Double(images) }.max() ?? 0
    }
}
