import AdapterFormat
import DiTModel
import Diffusion
import ImageFiles
import TensorMath

/// One image to make.
package struct ImageRequest: Sendable {
    /// Row of the bank that holds the image's domain.
    package var domain: Int
    /// Row of the domain's class table.
    package var classIndex: Int
    package var seed: UInt64
    /// Image k of its request: with the seed, all that its random numbers depend on (law 6).
    package var index: UInt64
    package var guidanceScale: Float

    package init(domain: Int, classIndex: Int, seed: UInt64, index: UInt64, guidanceScale: Float) {
        self.domain = domain
        self.classIndex = classIndex
        self.seed = seed
        self.index = index
        self.guidanceScale = guidanceScale
    }
}

/// One frozen base, a bank of domains over it, and the loop that walks images of any domains through a sampling plan.
package final class SamplingEngine {
    package let base: BaseFile
    package let convention: DiffusionConvention
    private let batch: DiTBatch
    private let rows: Int
    private let x, out: Matrix
    /// Null class of each domain installed.
    private var nullClasses: [Int]

    /// - Parameters:
    ///   - rows: network rows of one call; a guided image takes two.
    ///   - domains: adapters that can be installed at once.
    ///   - classRows: the largest class table, null row included.
    package init(_ base: BaseFile, rows: Int = 32, domains: Int = 8, classRows: Int? = nil, pool: ComputePool, preset: Preset = .original) throws {
        let configuration = base.configuration
        let plane = configuration.inputSize * configuration.inputSize
        let inCount = configuration.inChannels * plane, outCount = configuration.outChannels * plane
        self.base = base
        self.rows = max(2, rows)
        convention = try DiffusionConvention(
            pathNamed: base.card.path, predictionNamed: base.card.prediction, learnSigma: configuration.learnSigma,
            timeScale: base.card.timeScale)
        let bank = TunableBank(base.layout, rows: domains, classRows: max(classRows ?? 0, base.classes.rows))
        batch = DiTBatch(try DiT(base, preset: preset), bank: bank, rows: self.rows, pool: pool)
        let memory = Memory(capacity: Memory.paddedCount(self.rows * inCount) + Memory.paddedCount(self.rows * outCount))
        x = memory.take(self.rows, inCount)
        out = memory.take(self.rows, outCount)
        nullClasses = [Int](repeating: 0, count: domains)
        for row in 0..<domains { install(base.vector, base.classes, row: row) }
    }

    /// The hot swap: overwrites one row of the bank.
    package func install(_ vector: TunableVector, _ classes: ClassTable, row: Int) {
        batch.bank.install(vector, classes, row: row)
        nullClasses[row] = classes.nullClass
    }

    package func installed(row: Int) -> TunableVector { batch.bank.read(row: row) }

    /// Walks every image through the plan, several per network call, and returns the final latents in order.
    /// - Parameters:
    ///   - starts: latents to start from in place of the images' own noise.
    ///   - onStep: sees the states after each network call over a group, and the index of the group's first image.
    package func sample(
        _ requests: [ImageRequest], _ plan: SamplingPlan, onStep: (_ first: Int, _ states: [SamplerState]) -> Void = { _, _ in }
    ) -> [[Float]] {
        var results: [[Float]] = []
        let group = rows / 2
        for first in stride(from: 0, to: requests.count, by: group) {
            let images = Array(requests[first..<min(requests.count, first + group)])
            let states = images.map { SamplerState(plan, count: x.columns, seed: $0.seed, image: $0.index) }
            for _ in 0..<plan.evaluations {
                step(images, states)
                onStep(first, states)
            }
            results += states.map(\.latent.array)
        }
        return results
    }

    /// One network call over the group: a row per image, and one more of its null class where it is guided.
    private func step(_ images: [ImageRequest], _ states: [SamplerState]) {
        let guided = images.indices.filter { images[$0].guidanceScale != 1 }
        let order = Array(images.indices) + guided
        for (row, image) in order.enumerated() { x.row(row).copy(from: states[image].latent) }
        let output = out.rows(0..<order.count)
        batch.forward(
            x: x.rows(0..<order.count), times: order.map { states[$0].embedderTime },
            classes: images.map(\.classIndex) + guided.map { nullClasses[images[$0].domain] },
            bankRows: order.map { images[$0].domain }, into: output)
        // DiT guides the first three channels; pixels have no others.
        let values = 3 * base.configuration.inputSize * base.configuration.inputSize
        for (extra, image) in guided.enumerated() {
            Guidance.apply(
                scale: images[image].guidanceScale, guided: values, conditional: output.row(image),
                unconditional: output.row(images.count + extra))
        }
        for (row, state) in states.enumerated() { state.advance(output.row(row)) }
    }
}

extension RGBImage {
    /// The picture of a pixel-space latent (3 S S) in -1...1.
    package init(latent: [Float], size: Int) {
        self.init(width: size, height: size)
        let plane = size * size
        for index in 0..<plane {
            for channel in 0..<3 {
                let value = (latent[channel * plane + index] + 1) * 127.5
                pixels[index * 3 + channel] = UInt8(min(max(value, 0), 255).rounded(.toNearestOrEven))
            }
        }
    }
}
