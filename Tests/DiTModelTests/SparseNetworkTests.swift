import AdapterFormat
import DiTModel
import GoldenFiles
import TensorMath
import Testing

/// A network whose matrices are half zeros gives the same bytes whether the zeros are held or not, under every law.
@Suite struct SparseNetworkTests {
    private static let forms = NetworkForm.all.filter { $0.precision != .f32 }
    private let configuration = GoldenModels.tiny
    private let base: Golden
    private let layout: TunableLayout
    private let network: DiT

    init() throws {
        base = try Golden("dit-tiny")
        layout = TunableLayout(configuration)
        let weights = base.weights(configuration)
        for layer in try #require(weights.layers) {
            for matrix in layer.all {
                matrix.withMutableSpan { values in
                    for index in values.indices where (index + index / matrix.columns) % 4 > 1 { values[index] = 0 }
                }
            }
        }
        network = DiT(configuration, weights: weights)
    }

    private func model(_ form: NetworkForm, compressed: Bool) throws -> InferenceDiT {
        try InferenceDiT(network, precision: form.precision, matrixTiles: form.matrixTiles, compressesZeros: compressed)
    }

    private func slots() throws -> AdapterSlots {
        let own = base.vector(layout), slots = AdapterSlots(layout, count: 2, classRows: 11)
        slots.install(own, base.classTable(10), slot: 0)
        slots.install(try Golden("difffit-tiny-adapter").vector(layout, over: own), base.classTable(10), slot: 1)
        return slots
    }

    /// Laws 1 and 5: mixed batches on any number of threads, images alone, and a swap there and back.
    @Test(arguments: forms, [1, 2, 3])
    func bytesAreThoseOfTheWholeMatrices(form: NetworkForm, threads: Int) throws {
        let memory = Memory(capacity: 1 << 15), count = 5
        let x = memory.take(count, 256), out = memory.take(count, 512)
        Philox(seed: 4, stream: 0).normals(into: x)
        let times: [Float] = [999, 500, 20, 0, 500], labels = [1, 2, 10, 4, 4], images = [0, 1, 1, 0, 1]
        func outputs(compressed: Bool) throws -> [[UInt32]] {
            let model = try model(form, compressed: compressed), slots = try slots()
            let batch = DiTBatch(model, adapterSlots: slots, rows: count, pool: ThreadPool(threads: threads))
            func run() -> [UInt32] {
                batch.forward(x: x, times: times, classes: labels, slots: images, into: out)
                return out.array.map(\.bitPattern)
            }
            var found = [run()]
            slots.install(base.vector(layout), base.classTable(10), slot: 1)
            found.append(run())
            slots.install(try Golden("difffit-tiny-adapter").vector(layout, over: base.vector(layout)), base.classTable(10), slot: 1)
            found.append(run())
            #expect(found[0] == found[2])
            #expect(found[0] != found[1])
            let alone = DiTBatch(model, adapterSlots: slots, rows: 1, pool: ThreadPool(threads: 1)), single = memory.take(1, 512)
            for image in 0..<count {
                alone.forward(x: x.row(image), times: [times[image]], classes: [labels[image]], slots: [images[image]], into: single)
                #expect(single.array.map(\.bitPattern) == Array(found[2][(image * 512)..<((image + 1) * 512)]), "image \(image)")
            }
            return found
        }
        #expect(try outputs(compressed: true) == outputs(compressed: false))
    }

    /// The same at another resolution, whose rows are cut into tiles otherwise; and it takes less memory.
    @Test(arguments: forms)
    func anotherResolutionReadsTheSameCopies(form: NetworkForm) throws {
        let size = 12, memory = Memory(capacity: 1 << 12), x = memory.take(4 * size * size), out = memory.take(8 * size * size)
        Philox(seed: 8, stream: 0).normals(into: x)
        let found = try [false, true].map { compressed in
            let model = try model(form, compressed: compressed).fitting(ImageGrid(size: size, positionScale: 1))
            model.forward(x: x, times: [400], classes: [3], tunables: try slots().tunables[0], into: out)
            return (bytes: model.packedBytes, values: out.array.map(\.bitPattern))
        }
        #expect(found[0].values == found[1].values)
        #expect(Double(found[1].bytes) < 0.66 * Double(found[0].bytes))
    }

    /// float32 is held whole.
    @Test func float32IsHeldWhole() throws {
        let form = try #require(NetworkForm.all.first { $0.precision == .f32 })
        let bytes = try [false, true].map { try model(form, compressed: $0).packedBytes }
        #expect(bytes[0] == bytes[1])
    }
}
