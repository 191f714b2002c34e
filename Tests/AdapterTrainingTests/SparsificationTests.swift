import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import Foundation
import TensorMath
import Testing

/// Which weights of a base are taken, by either saliency, and training with what is left.
@Suite struct SparsificationTests {
    private let pool = ThreadPool(threads: 2)

    private func matrix(_ rows: Int, _ columns: Int, _ values: [Float]) -> Matrix {
        let matrix = Memory(capacity: values.count + 16).take(rows, columns)
        matrix.copy(from: values)
        return matrix
    }

    private func normals(_ rows: Int, _ columns: Int, _ stream: UInt64) -> Matrix {
        let matrix = Memory(capacity: rows * columns + 16).take(rows, columns)
        Philox(seed: 2, stream: stream).normals(into: matrix)
        return matrix
    }

    /// Inputs that hang together, as neighbouring channels do.
    private func moments(_ n: Int) -> Matrix {
        let x = normals(200, n, 5), mixed = normals(200, n, 6), moments = Memory(capacity: n * n + 16).take(n, n)
        x.withMutableSpan { x in
            mixed.withSpan { mixed in
                for row in 0..<200 {
                    for column in 0..<n { x[row * n + column] += Float(1 + column % 3) * mixed[row * n + column / 8] }
                }
            }
        }
        multiply(.transposed(x), .plain(x), into: moments)
        return moments
    }

    @Test func theTwoLargestStayAndOfEqualOnesTheFirst() {
        let w = matrix(2, 8, [1, -3, 2, 0.5, 1, 1, 1, 1, 0, 0, 0, 5, -2, -1, -4, -3]), out = matrix(2, 8, [Float](repeating: 9, count: 16))
        keepTwoOfFour(w, into: out)
        #expect(out.array == [0, -3, 2, 0, 1, 1, 0, 0, 0, 0, 0, 5, 0, 0, -4, -3])
        // A factor per column counts with the size.
        keepTwoOfFour(w, factors: matrix(1, 8, [9, 1, 1, 9, 1, 2, 1, 2]), into: out)
        #expect(out.array == [1, 0, 0, 0.5, 0, 1, 0, 1, 0, 0, 0, 5, 0, 0, -4, -3])
        keepTwoOfFour(w, into: w)
        #expect(w.array == [0, -3, 2, 0, 1, 1, 0, 0, 0, 0, 0, 5, 0, 0, -4, -3])
    }

    /// On one row and one group of four it costs no less than the best of all six pairs would with the best weights, and not much more than the worst.
    @Test(arguments: 0..<6) func secondOrderIsWithinWhatAnyPairCosts(stream: Int) {
        let n = 4, x = normals(60, n, UInt64(20 + stream)), w = normals(1, n, UInt64(40 + stream)), moments = Memory(capacity: 64).take(n, n)
        x.withMutableSpan { x in for row in 0..<60 { x[row * n + 1] += 2 * x[row * n] } }
        multiply(.transposed(x), .plain(x), into: moments)
        let dense = matrix(1, n, w.array)
        SecondOrderPruning.prune(w, moments: moments, pool: pool)
        #expect(w.array.count { $0 != 0 } == 2)
        let cost = SecondOrderPruning.relativeError(of: w, against: dense, moments: moments)
        // What the kept two make up at best, for each pair of them.
        func best(_ kept: [Int]) -> Double {
            let h = kept.flatMap { i in kept.map { Double(moments[i, $0]) } }
            let b = kept.map { i in (0..<n).reduce(0.0) { $0 + Double(moments[i, $1]) * Double(dense[0, $1]) } }
            guard let solved = SymmetricMatrix(order: 2, values: h).solution(b) else { return .infinity }
            let fitted = matrix(1, n, (0..<n).map { i in kept.firstIndex(of: i).map { Float(solved[$0]) } ?? 0 })
            return SecondOrderPruning.relativeError(of: fitted, against: dense, moments: moments)
        }
        let pairs = (0..<n).flatMap { i in ((i + 1)..<max(i + 1, n)).map { best([i, $0]) } }.sorted()
        // The choice is made weight by weight, and updates go to the right alone.
        #expect(cost >= pairs[0] - 1e-5)
        #expect(cost <= (pairs.last ?? 1) + 0.3)
    }

    /// Over several blocks of columns: half is gone, and less of the output than by magnitude.
    @Test func secondOrderLosesLess() {
        let (rows, n) = (24, 260), moments = moments(n), dense = normals(rows, n, 1)
        let second = matrix(rows, n, dense.array), magnitude = matrix(rows, n, dense.array), alone = matrix(rows, n, dense.array)
        SecondOrderPruning.prune(second, moments: moments, pool: pool)
        SecondOrderPruning.prune(alone, moments: moments, pool: ThreadPool(threads: 1))
        keepTwoOfFour(magnitude, into: magnitude)
        #expect(second.array == alone.array)
        let groups = stride(from: 0, to: rows * n, by: 4).map { first in second.array[first..<(first + 4)].count { $0 != 0 } }
        #expect(groups.allSatisfy { $0 == 2 })
        let errors = [second, magnitude].map { SecondOrderPruning.relativeError(of: $0, against: dense, moments: moments) }
        #expect(errors[0] < 0.5 * errors[1])
        #expect(SecondOrderPruning.relativeError(of: dense, against: dense, moments: moments) == 0)
    }

    private func calibration(_ base: BaseFile, threads: Int, seed: UInt64 = 1) throws -> LayerCalibration {
        let convention = try DiffusionConvention(base), plan = try SamplingPlan(.euler, steps: 3, convention, clips: true)
        var settings = LayerCalibration.Settings()
        (settings.images, settings.seed) = (10, seed)
        return LayerCalibration(
            try DiT(base), layout: base.layout, [.init(base.vector, base.classes), .init(base.vector, base.classes)], plan: plan, settings,
            pool: ThreadPool(threads: threads))
    }

    /// What is measured depends on the seed and nothing else, and the sparse base on what was measured.
    @Test func theSameSeedMakesTheSameBase() throws {
        let folder = try TemporaryFolder(), base = try Small.base(in: folder.path)
        func made(_ name: String, threads: Int, seed: UInt64 = 1) throws -> BaseFile {
            let pool = ThreadPool(threads: threads), path = "\(folder.path)/\(name).safetensors"
            let sparse = try BaseSparsification(base, .secondOrder, try calibration(base, threads: threads, seed: seed), pool: pool)
            #expect(sparse.errors.count == 4 * base.configuration.depth)
            #expect(sparse.errors.values.allSatisfy { $0 > 0 && $0 < 1 })
            try sparse.write(named: "sparse", to: path)
            return try BaseFile(path: path)
        }
        let first = try made("a", threads: 1)
        #expect(try made("b", threads: 3).digest == first.digest)
        #expect(try made("c", threads: 1, seed: 2).digest != first.digest)
        #expect(first.card.sparsity == BaseSparsity(pattern: "2:4", saliency: "second-order", dense: base.digest))
        #expect(first.vector == base.vector)
        // By magnitude no weight is changed that stays.
        let magnitude = try BaseSparsification(base, .magnitude, nil, pool: pool)
        try magnitude.write(named: "sparse", to: folder.path + "/d.safetensors")
        let simple = try BaseFile(path: folder.path + "/d.safetensors")
        for tensor in base.configuration.frozenTensors where base.configuration.isSparse(tensor.name) {
            let pairs = zip(try simple.file.floats(tensor.name), try base.file.floats(tensor.name))
            #expect(pairs.allSatisfy { $0 == 0 || $0 == $1 })
        }
        #expect(throws: AdapterFormatError.self) { try BaseSparsification(simple, .magnitude, nil, pool: pool) }
    }

    private func settings(_ steps: Int = 4, _ precision: Precision = .f32) -> TrainingSettings {
        var settings = Small.settings(steps: steps)
        (settings.pattern, settings.precision) = ("2:4", precision)
        return settings
    }

    /// The network of a step is that of the masked weights, and what it writes is sparse; its classes and shape are the base's.
    @Test(arguments: Precision.supported.filter { [.f32, .bf16].contains($0) }) func aStepComputesWithHalfOfTheWeights(precision: Precision) throws {
        let folder = try TemporaryFolder(), base = try Small.base(in: folder.path)
        let sparse = try BaseSparsification(base, .magnitude, nil, pool: pool)
        try sparse.write(named: "sparse", to: folder.path + "/sparse.safetensors")
        let kept = try BaseFile(path: folder.path + "/sparse.safetensors")
        let run = try TrainingRun.base(settings(4, precision), from: base, data: Small.data, pool: pool)
        var plain = settings(4, precision)
        plain.pattern = nil
        let loss = try run.advance()
        #expect(try TrainingRun.base(plain, from: kept, data: Small.data, pool: pool).advance() == loss)
        #expect(try TrainingRun.base(plain, from: base, data: Small.data, pool: pool).advance() != loss)
        while !run.isFinished { try run.advance() }
        let path = folder.path + "/trained.safetensors"
        try run.writeBase(named: "trained", configuration: base.configuration, to: path, as: .f32)
        let trained = try BaseFile(path: path)
        #expect(trained.isSparse)
        #expect(trained.card.sparsity == BaseSparsity(pattern: "2:4", saliency: "straight-through", dense: base.digest))
        #expect(trained.classes.names == base.classes.names)
        // What held-out images are measured with is what is written.
        let model = run.averagedModel.weights, written = try DiT(trained).weights
        #expect(zip(model.all, written.all).allSatisfy { $0.array == $1.array })
    }

    /// g = g_(m W) + lambda (1 - m) W, with the weights that are not kept free to come back.
    @Test func whatIsNotKeptIsPulledTowardsZero() {
        let w = matrix(1, 4, [4, -3, 2, -1]), kept = matrix(1, 4, [4, -3, 0, 0]), gradient = matrix(1, 4, [1, 1, 1, 1])
        pullDropped(w, kept: kept, lambda: 0.5, into: gradient)
        #expect(gradient.array == [1, 1, 2, 0.5])
    }

    /// A run that is taken up again ends as one that was not stopped, and one without the pattern is another.
    @Test func aRunGoesOnWithItsPattern() throws {
        let folder = try TemporaryFolder(), base = try Small.base(in: folder.path), state = folder.path + "/state"
        let whole = try TrainingRun.base(settings(), from: base, data: Small.data, pool: pool)
        while !whole.isFinished { try whole.advance() }
        let first = try TrainingRun.base(settings(), from: base, data: Small.data, pool: pool)
        for _ in 0..<2 { try first.advance() }
        try first.save(to: state)
        let second = try TrainingRun.base(settings(), from: base, data: Small.data, pool: pool)
        try second.restore(from: state)
        while !second.isFinished { try second.advance() }
        #expect(bits(second.average) == bits(whole.average))
        #expect(throws: TrainingError.self) { try TrainingRun.base(Small.settings(steps: 4), from: base, data: Small.data, pool: pool).restore(from: state) }
    }

    @Test func aBaseIsTrainedFurtherOnItsOwnClasses() throws {
        let folder = try TemporaryFolder(), base = try Small.base(in: folder.path)
        let other = TrainingData(classNames: ["new", "light"], size: 8, images: Small.images, labels: Small.labels, summary: "other")
        #expect(throws: TrainingError.otherClasses(["new", "light"], base: "small", wanted: ["dark", "light"])) {
            try TrainingRun.base(settings(), from: base, data: other, pool: pool)
        }
        #expect(throws: TrainingError.otherSize(images: 16, network: 8)) {
            try TrainingRun.base(settings(), from: base, data: Small.pictures(dark: 2, light: 2, size: 16), pool: pool)
        }
    }
}
