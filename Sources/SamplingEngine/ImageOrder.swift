import AdapterFormat
import Diffusion
import Foundation

/// An adapter as a request holds it from admission on (law 3): immutable, whatever happens to its name meanwhile.
package struct BoundAdapter: Sendable {
    package let name: String
    package let digest: Digest
    package let vector: TunableVector
    package let classes: ClassTable
    /// The grid of its images, where it is not the base's own.
    package let grid: ImageGrid?
    /// What an adapter slot is known by: the digest, or where a class was blended in for one request, that class too.
    let key: Digest

    package init(name: String, digest: Digest, vector: TunableVector, classes: ClassTable, grid: ImageGrid?) {
        self.init(name: name, digest: digest, vector: vector, classes: classes, grid: grid, key: digest)
    }

    private init(name: String, digest: Digest, vector: TunableVector, classes: ClassTable, grid: ImageGrid?, key: Digest) {
        self.name = name
        self.digest = digest
        self.vector = vector
        self.classes = classes
        self.grid = grid
        self.key = key
    }

    /// The same with one more class, which stands last.
    func adding(class name: String, _ row: [Float]) -> BoundAdapter {
        let values = classes.values.dropLast(classes.width) + row + classes.values.suffix(classes.width)
        return BoundAdapter(
            name: self.name, digest: digest, vector: vector, classes: ClassTable(names: classes.names + [name], values: Array(values)),
            grid: grid, key: Digest(of: Data("\(digest) \(name)".utf8)))
    }

    func named(_ name: String) -> BoundAdapter { BoundAdapter(name: name, digest: digest, vector: vector, classes: classes, grid: grid, key: key) }

    var bytes: Int { (vector.values.count + classes.values.count) * MemoryLayout<Float>.size }
}

/// How much of the network may be reused from step to step.
package enum CacheLevel: String, Sendable, CaseIterable {
    /// Nothing that changes a bit.
    case exact
    /// Blocks are extrapolated between the calls of the adapter's calibrated profile, so that a difference is hard to see.
    case balanced
    /// The same with fewer calls: other pictures than without, of the same kind.
    case fast
}

/// One image to make.
package struct ImageOrder: Sendable {
    /// One prediction of the network.
    package struct Part: Sendable {
        package var adapter: BoundAdapter
        /// Row of the adapter's class table.
        package var classIndex: Int
        /// Its share of the sum of predictions.
        package var weight: Float

        package init(adapter: BoundAdapter, classIndex: Int, weight: Float = 1) {
            self.adapter = adapter
            self.classIndex = classIndex
            self.weight = weight
        }
    }

    package struct Stage: Sendable {
        /// Fraction of the steps after which it begins.
        package var start: Double
        /// One, or several whose predictions are added.
        package var parts: [Part]

        package init(start: Double = 0, parts: [Part]) {
            self.start = start
            self.parts = parts
        }
    }

    /// In order, the first from 0; the adapter changes between steps.
    package var stages: [Stage]
    package var seed: UInt64
    /// Image k of its request: with the seed, all that its random numbers depend on (law 6).
    package var index: UInt64
    package var guidance: ImageGuidance
    /// Whether each network call runs the blocks or extrapolates what they add; nil runs them all.
    package var cache: [Bool]?
    /// Noise to use in place of the image's own.
    package var given: GivenNoise?

    package init(stages: [Stage], seed: UInt64, index: UInt64, guidance: ImageGuidance, given: GivenNoise? = nil) {
        precondition(stages.first?.start == 0 && stages.allSatisfy { !$0.parts.isEmpty }, "an image without a first stage or a part")
        self.stages = stages
        self.seed = seed
        self.index = index
        self.guidance = guidance
        self.given = given
    }

    /// An image of one adapter.
    package init(
        adapter: BoundAdapter, classIndex: Int, seed: UInt64, index: UInt64, guidanceScale: Float, guidance: GuidanceKind = .cfg,
        given: GivenNoise? = nil
    ) {
        self.init(
            stages: [Stage(parts: [Part(adapter: adapter, classIndex: classIndex)])], seed: seed, index: index,
            guidance: ImageGuidance(guidance, scale: guidanceScale), given: given)
    }

    /// The grid of the image; `SamplingEngine` refuses an order whose adapters differ in it.
    var grid: ImageGrid? { stages[0].parts[0].adapter.grid }

    /// Every adapter of its stages.
    var adapters: [BoundAdapter] { stages.flatMap { $0.parts.map(\.adapter) } }
}
