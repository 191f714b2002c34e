import AdapterFormat
import ArgumentParser
import DiTModel
import Foundation
import SystemIO
import TensorMath

struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Time one part of the program on this machine.",
        subcommands: [
            BenchForward.self, BenchSwap.self, BenchSample.self, BenchCompose.self, BenchTrain.self, BenchStore.self, BenchDecode.self,
            BenchFiles.self, BenchMachine.self,
        ])
}

/// Medians and percentiles of repeated work, with what ran it.
struct Timing: Encodable {
    let what: String
    let runs: Int
    let leastSeconds, medianSeconds, p10Seconds, p90Seconds, p99Seconds: Double
    let processor: String
    let threads: Int
    let library: String

    /// - Parameter warmup: runs that are not counted.
    init(_ what: String, runs: Int, warmup: Int = 1, library: String = blasDescription, _ work: () throws -> Void) rethrows {
        var seconds: [Double] = []
        for run in 0..<(runs + warmup) {
            let start = ContinuousClock.now
            try work()
            if run >= warmup { seconds.append((ContinuousClock.now - start) / .seconds(1)) }
        }
        self.init(what, seconds: seconds, library: library)
    }

    /// - Parameter seconds: of each run, at least one.
    init(_ what: String, seconds: [Double], library: String = blasDescription) {
        let seconds = seconds.sorted()
        let at = { (share: Double) in seconds[min(seconds.count - 1, Int(share * Double(seconds.count)))] }
        self.what = what
        runs = seconds.count
        leastSeconds = seconds[0]
        (medianSeconds, p10Seconds, p90Seconds, p99Seconds) = (at(0.5), at(0.1), at(0.9), at(0.99))
        processor = Processors.name
        threads = ThreadPool.processorCount
        self.library = library
    }

    var text: String { "\(line)\n\(machine)" }
    var line: String {
        "\(what): least \(readable(seconds: leastSeconds)), median \(readable(seconds: medianSeconds)), 10 % \(readable(seconds: p10Seconds)), 90 % \(readable(seconds: p90Seconds)), 99 % \(readable(seconds: p99Seconds)) of \(runs, "run")"
    }
    var machine: String { "\(processor), \(threads, "thread"), \(library)" }
}

/// Calls the work once per line of standard input and answers with its seconds, so that a script can time several programs in turns.
/// - Parameter bytes: of memory after a turn.
func takeTurns(bytes: () -> Int? = { nil }, _ seconds: () throws -> Double) throws {
    struct Turn: Encodable {
        let seconds: Double
        let bytes: Int?
    }
    _ = try seconds()
    while readLine() != nil {
        let line = try JSONEncoder().encode(Turn(seconds: seconds(), bytes: bytes()))
        try StandardStreams.print(String(decoding: line, as: UTF8.self) + "\n")
    }
}

/// 12.3 ms rather than 0.0123.
func readable(seconds: Double) -> String {
    seconds < 1e-3 ? String(format: "%.1f us", seconds * 1e6) : seconds < 1 ? String(format: "%.2f ms", seconds * 1e3) : String(format: "%.3f s", seconds)
}

/// A network of a named shape with random weights, so that no file is needed.
struct ModelOptions: ParsableArguments {
    @Option(help: "DiT-{S,B,L,XL}/{2,4,8}, or shipped.") var model = "shipped"
    @Option(help: "256 or 512 pixels, for the named models.") var pixels = 256

    func configuration() throws -> DiTConfiguration {
        if model == "shipped" {
            return DiTConfiguration(
                inputSize: 32, patchSize: 4, inChannels: 3, hiddenSize: 192, depth: 8, numHeads: 6, numClasses: 35, learnSigma: false)
        }
        guard let found = DiTConfiguration.preset(model, pixels: pixels), pixels % 8 == 0, pixels > 0 else {
            throw Failure.usage("there is no model '\(model)' at \(pixels) pixels: take DiT-S, B, L or XL with /2, /4 or /8")
        }
        return found
    }

    /// A network of random matrices packed for sampling; no second copy of what is packed stays in memory.
    /// - Parameters:
    ///   - sparse: whether two of every four weights of the blocks' matrices are zero.
    ///   - compressed: whether these are left out of memory.
    func randomNetwork(
        _ configuration: DiTConfiguration, _ precision: Precision, _ matrixTiles: MatrixTiles? = .native, sparse: Bool = false, compressed: Bool = false
    ) throws -> InferenceDiT {
        let find = randomMatrices()
        return try InferenceDiT(configuration, precision: precision, matrixTiles: matrixTiles, compressesZeros: compressed) { name, rows, columns in
            let matrix = find(name, rows, columns)
            if sparse, configuration.isSparse(name) { keepTwoOfFour(matrix, into: matrix) }
            return QuantizedMatrix(matrix)
        }
    }

    /// The same for training.
    func randomNetworkForTraining(_ configuration: DiTConfiguration, _ precision: Precision) throws -> DiT {
        try DiT(packing: configuration, at: precision, find: randomMatrices())
    }

    func randomise(_ weights: Weights) {
        for (index, matrix) in weights.all.enumerated() { randomise(matrix, index) }
    }

    private func randomMatrices() -> (_ name: String, _ rows: Int, _ columns: Int) -> Matrix {
        var index = 0
        return { _, rows, columns in
            let matrix = Memory(capacity: Memory.paddedCount(rows * columns)).take(rows, columns)
            randomise(matrix, index)
            index += 1
            return matrix
        }
    }

    private func randomise(_ matrix: Matrix, _ index: Int) {
        Philox(seed: 1, stream: UInt64(100 + index)).normals(into: matrix)
        matrix.withMutableSpan { for i in $0.indices { $0[i] *= 0.02 } }
    }

    /// An adapter of `classes` classes whose every value is a random step away from the base's: the least compressible kind.
    func randomAdapter(_ layout: TunableLayout, base: Digest, classes: Int, seed: UInt64) -> Adapter {
        let names = (0..<classes).map { "class-\($0)" }
        var table = [Float](repeating: 0, count: (classes + 1) * layout.configuration.hiddenSize)
        Philox(seed: seed, stream: 4).normals(into: &table)
        let manifest = AdapterManifest(
            name: nil, baseDigest: base, layoutDigest: layout.digest, trainableSet: TrainableSet(.full, layout.configuration), classes: names,
            prediction: "x0", path: "linear")
        return Adapter(manifest: manifest, vector: randomVector(layout, seed: seed), classes: ClassTable(names: names, values: table))
    }

    func randomVector(_ layout: TunableLayout, seed: UInt64) -> TunableVector {
        var noise = [Float](repeating: 0, count: layout.count)
        Philox(seed: seed, stream: 2).normals(into: &noise)
        return TunableVector(zip(TunableVector.neutral(layout).values, noise).map { $0 + 0.02 * $1 }, layout: layout)
    }
}
