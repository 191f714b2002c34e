import AdapterFormat
import DiTModel
import GoldenFiles
import TensorMath
import Testing

/// Each precision against the outputs recorded from the public implementation, and what swaps do at it.
@Suite struct PrecisionTests {
    /// Relative error of the output, root mean square. The tiny models are worse conditioned than a real one: a head of 16 values and
    /// four blocks, every weight drawn far larger than training leaves it.
    private static let tolerance: [Precision: Double] = [.f32: 1e-5, .bf16: 8e-3, .int8: 3e-2, .int8Careful: 3e-2]

    @Test(arguments: NetworkForm.all, ["dit-tiny", "dit-pixel"])
    func theOutputAgreesWithTheRecordedOne(form: NetworkForm, name: String) throws {
        let configuration = name == "dit-tiny" ? GoldenModels.tiny : GoldenModels.pixel
        let file = try Golden(name), recorded = try Golden(name + "-forward")
        let layout = TunableLayout(configuration)
        let adapterSlots = AdapterSlots(layout, count: 1, classRows: configuration.numClasses + 1)
        adapterSlots.install(file.vector(layout), file.classTable(configuration.numClasses), slot: 0)
        let model = try InferenceDiT(
            DiT(configuration, weights: file.weights(configuration)), precision: form.precision, matrixTiles: form.matrixTiles)
        let count = recorded["t"].count
        let out = Memory(capacity: recorded["out"].count + 16).take(count, recorded["out"].count / count)
        model.forward(
            x: recorded.matrix("x", rows: count), times: recorded["t"], classes: recorded["y"].map { Int($0) }, tunables: adapterSlots.tunables[0], into: out)
        let error = rootMeanSquareError(out.array, recorded["out"])
        let tolerance = try #require(Self.tolerance[form.precision])
        #expect(error < tolerance, "\(form): \(error)")
        // A coarser precision that gave the finer one's numbers would not be in use.
        if form.precision != .f32 { #expect(error > 1e-4) }
    }

    /// Law 1 at every precision: what an adapter slot held before leaves no trace, and the packed matrices know of no adapter.
    @Test(arguments: NetworkForm.all)
    func aSwapThereAndBackGivesTheSameBytes(form: NetworkForm) throws {
        let configuration = GoldenModels.tiny
        let file = try Golden("dit-tiny")
        let layout = TunableLayout(configuration)
        let own = file.vector(layout), adapter = try Golden("difffit-tiny-adapter").vector(layout, over: own)
        let adapterSlots = AdapterSlots(layout, count: 1, classRows: 11)
        let model = try InferenceDiT(
            DiT(configuration, weights: file.weights(configuration)), precision: form.precision, matrixTiles: form.matrixTiles)
        let batch = DiTBatch(model, adapterSlots: adapterSlots, rows: 1, pool: ThreadPool(threads: 1))
        let memory = Memory(capacity: 4096)
        let x = memory.take(256), out = memory.take(512)
        Philox(seed: 6, stream: 0).normals(into: x)
        func outputWith(_ vector: TunableVector) -> [UInt32] {
            adapterSlots.install(vector, file.classTable(10), slot: 0)
            batch.forward(x: x, times: [400], classes: [3], slots: [0], into: out)
            return out.array.map(\.bitPattern)
        }
        let first = outputWith(own), second = outputWith(adapter)
        #expect(first != second)
        #expect(outputWith(own) == first)
        #expect(outputWith(adapter) == second)
    }

    /// Sums of bfloat16 factors have another order in tiles: nearly oneDNN's values, at int8 by attention alone. Of 9, 36 and 324 tokens
    /// none fills whole tiles, and the last are cut into two products.
    @Test(.enabled("needs oneDNN and a processor for int8") { Precision.int8.isSupported && Precision.bf16.isSupported }, arguments: [6, 12, 36])
    func matrixTilesGiveWhatOneDNNGives(size: Int) throws {
        let configuration = GoldenModels.tiny
        let file = try Golden("dit-tiny")
        let layout = TunableLayout(configuration)
        let adapterSlots = AdapterSlots(layout, count: 1, classRows: 11)
        adapterSlots.install(file.vector(layout), file.classTable(10), slot: 0)
        let network = DiT(configuration, weights: file.weights(configuration))
        let memory = Memory(capacity: 12 * size * size + 32)
        let x = memory.take(4 * size * size), out = memory.take(8 * size * size)
        Philox(seed: 8, stream: 0).normals(into: x)
        func output(_ precision: Precision, _ matrixTiles: MatrixTiles?) throws -> [Float] {
            let model = try InferenceDiT(network, precision: precision, matrixTiles: matrixTiles).fitting(ImageGrid(size: size, positionScale: 1))
            model.forward(x: x, times: [400], classes: [3], tunables: adapterSlots.tunables[0], into: out)
            return out.array
        }
        #expect(try rootMeanSquareError(output(.int8, .plain), output(.int8, nil)) < 4e-3)
        #expect(try rootMeanSquareError(output(.bf16, .plain), output(.bf16, nil)) < 8e-3)
    }

    @Test func whatThisMachineLacksFallsBackWithOneLine() {
        for precision in Precision.allCases {
            let (chosen, notice) = precision.fallback
            #expect(precision.isSupported ? chosen == precision && notice == nil : chosen == .f32 && notice?.contains(precision.rawValue) == true)
        }
    }
}

private func rootMeanSquareError(_ a: [Float], _ b: [Float]) -> Double {
    let difference = zip(a, b).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
    return (difference / b.reduce(0.0) { $0 + Double($1) * Double($1) }).squareRoot()
}
