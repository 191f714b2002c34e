import AdapterFormat
import CAllocationCount
import DiTModel

/// A program for tests only: prints the allocations of making the slots, of ten thousand warm swaps, and of reading a slot back.
@main
struct SwapCounter {
    static func main() {
        let configuration = DiTConfiguration(
            inputSize: 4, patchSize: 2, inChannels: 4, hiddenSize: 32, depth: 2, numHeads: 4, numClasses: 3, learnSigma: false)
        let layout = TunableLayout(configuration)
        let vectors = (0..<2).map { TunableVector([Float](repeating: Float($0), count: layout.count), layout: layout) }
        let classes = ClassTable(names: ["a", "b", "c"], values: [Float](repeating: 0.5, count: 4 * configuration.hiddenSize))
        let before = ac_count()
        let slots = AdapterSlots(layout, count: 2, classRows: 4)
        for slot in 0..<2 { slots.install(vectors[slot], classes, slot: slot) }
        let cold = ac_count()
        for swap in 0..<10_000 { slots.install(vectors[swap % 2], classes, slot: swap / 2 % 2) }
        let warm = ac_count()
        _ = slots.read(slot: 0)
        print(cold - before, warm - cold, ac_count() - warm)
    }
}
