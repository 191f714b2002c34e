import AdapterFormat
import TensorMath

/// The memory of one training pass: taken once, used again for every step.
package struct Pass: Sendable {
    package let shape: PassShape
    package let activations: Activations
    let scratch: BackwardScratch
    private let memory: Memory

    /// A pass for each count of images from 1 to `images`, all over the memory of the largest.
    package static func views(_ configuration: DiTConfiguration, upTo images: Int, history: History, preset: Preset) -> [Pass] {
        let memory = Memory(capacity: capacity(configuration, images: images, history: history))
        return (1...images).map {
            Pass(configuration, images: $0, history: history, preset: preset, memory: Memory(sharing: memory))
        }
    }

    private init(_ configuration: DiTConfiguration, images: Int, history: History, preset: Preset, memory: Memory) {
        shape = PassShape(configuration, images: images, preset: preset)
        activations = Activations(configuration, images: images, history: history, take: memory.take)
        scratch = BackwardScratch(configuration, images: images, take: memory.take)
        self.memory = memory
    }

    private static func capacity(_ configuration: DiTConfiguration, images: Int, history: History) -> Int {
        var capacity = 0
        let empty = Memory(capacity: 0).take(0, 0)
        let count = { (rows: Int, columns: Int) -> Matrix in
            capacity += Memory.paddedCount(rows * columns)
            return empty
        }
        _ = Activations(configuration, images: images, history: history, take: count)
        _ = BackwardScratch(configuration, images: images, take: count)
        return capacity
    }

    /// Bytes of the plan.
    package var bytes: Int { memory.capacity * 4 }
}
