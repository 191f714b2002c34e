import AdapterFormat
import AdapterTraining
import DiTModel
import GoldenFiles
import TensorMath
import Testing

/// Gradients of the recorded model against differences of the loss, where no recorded gradient covers the path.
@Suite struct GradientChecks {
    private let configuration = GoldenModels.pixel
    private let weights: Weights
    private let own: TunableVector
    private let table: ClassTable
    private let x: Matrix
    private let count = 3, chunk = 2

    init() throws {
        let base = try Golden("dit-pixel")
        weights = base.weights(configuration)
        own = base.vector(TunableLayout(configuration))
        table = base.classTable(5)
        x = Memory(capacity: 3 * 768 + 48).take(3, 768)
        Philox(seed: 9, stream: 1).normals(into: x)
    }

    /// The recorded values, and random pairs.
    private func start(_ layout: TunableLayout) -> TrainableValues {
        let values = TrainableValues(layout, classes: 5, withWeights: false)
        values.vector.copy(from: own.extended(to: layout).values)
        values.classTable.copy(from: table.values)
        for (index, tensor) in layout.tensors.enumerated() where tensor.kind == .lowRank {
            let pair = values.vector.values(tensor.range)
            Philox(seed: 3, stream: UInt64(index)).normals(into: pair)
            pair.withMutableSpan { for i in $0.indices { $0[i] *= 0.2 } }
        }
        return values
    }

    /// A weighted sum of the outputs, so that the gradient with respect to them is known.
    private func loss(_ step: GradientStep, _ values: TrainableValues, kept: [[Int]]) -> Double {
        let sums = Memory(capacity: 16).take(count)
        step.run(x: x, times: [10, 400, 900], classes: [0, 3, 5], tunables: values.tunables, kept: kept) { image, out, slope in
            Philox(seed: 2, stream: UInt64(image)).normals(into: slope)
            sums[0, image] = Float(zip(out.array, slope.array).reduce(0.0) { $0 + Double($1.0) * Double($1.1) })
        }
        step.finish()
        return sums.array.reduce(0.0) { $0 + Double($1) }
    }

    /// Each tensor's gradient along a random direction against the central difference there.
    private func check(_ layout: TunableLayout, tensors: [TunableTensor], route: TokenRoute? = nil, kept: [[Int]] = []) {
        let values = start(layout)
        let step = GradientStep(
            DiT(configuration, weights: weights), layout: layout, classes: 5, trainsWeights: false, pool: ThreadPool(threads: 2), chunk: chunk,
            route: route)
        _ = loss(step, values, kept: kept)
        let gradient = step.gradients.vector.array
        for (index, tensor) in tensors.enumerated() {
            let start = values.vector.array
            var direction = [Float](repeating: 0, count: tensor.count)
            Philox(seed: 5, stream: UInt64(index)).normals(into: &direction)
            func moved(_ length: Float) -> Double {
                var there = start
                for (offset, index) in tensor.range.enumerated() { there[index] += length * direction[offset] }
                values.vector.copy(from: there)
                return loss(step, values, kept: kept)
            }
            let h: Float = 3e-3
            let difference = (moved(h) - moved(-h)) / (2 * Double(h))
            values.vector.copy(from: start)
            let slope = zip(tensor.range, direction).reduce(0.0) { $0 + Double(gradient[$1.0]) * Double($1.1) }
            let scale = tensor.range.reduce(0.0) { $0 + Double(gradient[$1]) * Double(gradient[$1]) }.squareRoot()
            #expect(abs(slope - difference) < 0.02 * abs(difference) + 0.02 * scale + 1e-3, "\(tensor.name): \(slope) against \(difference)")
        }
    }

    @Test func lowRankPairsOfEveryLayer() {
        // More than one slice of a rank in one of the layers.
        var ranks = LowRank(rank: 3, targets: Set(LowRank.Linear.allCases), configuration).ranks
        ranks["blocks.1.mlp.fc1"] = 70
        ranks["blocks.2.attn.proj"] = 0
        let layout = TunableLayout(configuration).adding(LowRank(ranks: ranks, scale: 0.7))
        let pairs = layout.tensors.filter { $0.kind == .lowRank }
        #expect(pairs.count == 2 * 11)
        check(layout, tensors: pairs)
        check(layout, tensors: Array(layout.tensors.filter { $0.kind == .bias }.prefix(6)))
    }

    @Test(arguments: [0..<1, 1..<2, 1..<3, 0..<3])
    func tokensRoutedAroundBlocks(blocks: Range<Int>) {
        let layout = TunableLayout(configuration)
        let kept = [[0, 1, 3, 4, 7, 9, 10, 11, 12, 15], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [0, 2, 4, 6, 8, 10, 11, 13, 14, 15]]
        check(
            layout, tensors: layout.tensors.filter { $0.kind == .bias || $0.kind == .gamma }, route: TokenRoute(blocks: blocks, kept: 10), kept: kept)
    }

    /// The gradient at the network's input, along random directions of each image, with and without tokens that pass by.
    @Test(arguments: [nil, TokenRoute(blocks: 0..<2, kept: 10)])
    func theInputsGradientIsTheDifference(route: TokenRoute?) {
        let layout = TunableLayout(configuration), values = start(layout)
        let step = GradientStep(
            DiT(configuration, weights: weights), layout: layout, classes: 5, trainsWeights: false, pool: ThreadPool(threads: 2), chunk: chunk, route: route)
        let kept = route.map { route in (0..<count).map { image in (0..<route.kept).map { $0 + image } } } ?? []
        let memory = Memory(capacity: 2 * Memory.paddedCount(x.count))
        let shown = memory.take(count, x.columns), gradient = memory.take(count, x.columns), start = x.array
        func loss(_ x: Matrix, gradient: Matrix? = nil) -> [Double] {
            let sums = Memory(capacity: 16).take(count)
            step.run(x: x, times: [10, 400, 900], classes: [0, 3, 5], tunables: values.tunables, kept: kept, inputGradient: gradient) { image, out, slope in
                Philox(seed: 2, stream: UInt64(image)).normals(into: slope)
                sums[0, image] = Float(zip(out.array, slope.array).reduce(0.0) { $0 + Double($1.0) * Double($1.1) })
            }
            return sums.array.map(Double.init)
        }
        _ = loss(x, gradient: gradient)
        let slopes = gradient.array
        var direction = [Float](repeating: 0, count: x.count)
        for number in 0..<3 {
            Philox(seed: 6, stream: UInt64(number)).normals(into: &direction)
            let h: Float = 3e-3
            func moved(_ length: Float) -> [Double] {
                shown.copy(from: zip(start, direction).map { $0 + length * $1 })
                return loss(shown)
            }
            let (ahead, behind) = (moved(h), moved(-h))
            for image in 0..<count {
                let place = (image * x.columns)..<((image + 1) * x.columns)
                let difference = (ahead[image] - behind[image]) / (2 * Double(h))
                let slope = place.reduce(0.0) { $0 + Double(slopes[$1]) * Double(direction[$1]) }
                let scale = place.reduce(0.0) { $0 + Double(slopes[$1]) * Double(slopes[$1]) }.squareRoot()
                #expect(scale > 0.1)
                #expect(abs(slope - difference) < 0.02 * scale + 1e-3, "image \(image): \(slope) against \(difference)")
            }
        }
    }

    /// A route that keeps every token is no route, to the last bit, forward and back.
    @Test func aRouteOfAllTokensChangesNothing() {
        let layout = TunableLayout(configuration)
        let values = start(layout)
        func run(_ route: TokenRoute?, _ kept: [[Int]]) -> ([UInt32], Double) {
            let step = GradientStep(
                DiT(configuration, weights: weights), layout: layout, classes: 5, trainsWeights: false, pool: ThreadPool(threads: 1), chunk: chunk,
                route: route)
            let loss = loss(step, values, kept: kept)
            return (bits(step.gradients), loss)
        }
        let plain = run(nil, []), routed = run(TokenRoute(blocks: 1..<2, kept: 16), [[Int]](repeating: Array(0..<16), count: 3))
        #expect(plain == routed)
        let cut = run(TokenRoute(blocks: 1..<2, kept: 15), [[Int]](repeating: Array(1..<16), count: 3))
        #expect(cut.1 != plain.1)
    }

    /// bf16 rounds the products' factors, 2^-9 each, forward and back; every tensor's gradient stays within a few of these, on whole
    /// images and with routed tokens, for which the same packed matrices meet tiles of another height; the matrices' own where they are
    /// trained, over a whole chunk and over what is left of the batch.
    @Test(.enabled(if: Precision.bf16.isSupported), arguments: [nil, TokenRoute(blocks: 1..<3, kept: 10)], [false, true])
    func bf16GradientsAreThoseOfF32ButForRounding(route: TokenRoute?, trainsWeights: Bool) throws {
        let layout = TunableLayout(configuration).adding(LowRank(rank: 3, scale: 1, targets: Set(LowRank.Linear.allCases), configuration))
        let values = start(layout)
        func gradients(_ precision: Precision) throws -> TrainableValues {
            let network = try DiT(configuration, weights: weights).packed(at: precision, route: route, trainedImages: trainsWeights ? chunk : 0)
            let step = GradientStep(
                network, layout: layout, classes: 5, trainsWeights: trainsWeights, pool: ThreadPool(threads: 2), chunk: chunk, route: route)
            _ = loss(step, values, kept: route.map { route in [[Int]](repeating: Array(0..<route.kept), count: 3) } ?? [])
            return step.gradients
        }
        let (exact, rounded) = (try gradients(.f32), try gradients(.bf16))
        for tensor in layout.tensors where tensor.name != "pos_embed" {
            let error = relativeError(rounded.vector.values(tensor.range).array, exact.vector.values(tensor.range).array)
            #expect(error < 0.03, "\(tensor.name): \(error)")
        }
        for (block, (mine, other)) in zip(rounded.weights?.layers ?? [], exact.weights?.layers ?? []).enumerated() {
            for (gradient, truth) in zip(mine.all, other.all) {
                let error = relativeError(gradient.array, truth.array)
                #expect(error < 0.03 && error > 1e-5, "block \(block): \(error)")
            }
        }
        #expect((rounded.weights != nil) == trainsWeights)
        #expect(relativeError(rounded.vector.array, exact.vector.array) > 1e-5)
        #expect(relativeError(rounded.classTable.array, exact.classTable.array) < 0.03)
    }

    /// Matrices that have moved are multiplied as they are once they are packed anew, to the bytes of a network that was packed from them.
    @Test(.enabled(if: Precision.bf16.isSupported)) func matricesThatMoveArePackedAnew() throws {
        let layout = TunableLayout(configuration), values = start(layout), memory = Memory(capacity: 1 << 18)
        let moving = Weights(configuration) { name, rows, columns in
            let matrix = memory.take(rows, columns)
            matrix.copy(from: weights.finder(configuration)(name))
            return matrix
        }
        let plain = DiT(configuration, weights: moving), pool = ThreadPool(threads: 2)
        func output(_ network: DiT) -> [Float] {
            let outputs = Memory(capacity: 1 << 14).take(count, x.columns)
            let step = GradientStep(network, layout: layout, classes: 5, trainsWeights: true, pool: pool, chunk: chunk)
            step.run(x: x, times: [10, 400, 900], classes: [0, 3, 5], tunables: values.tunables) { image, out, slope in
                outputs.row(image).values(0..<min(out.count, x.columns)).copy(from: Array(out.array.prefix(x.columns)))
                slope.fill(0)
            }
            return outputs.array
        }
        let network = try plain.packed(at: .bf16, trainedImages: chunk), before = output(network)
        for block in moving.layers ?? [] {
            for matrix in block.all { matrix.withMutableSpan { for i in $0.indices { $0[i] *= 1.25 } } }
        }
        #expect(output(network) == before)
        network.repack(from: plain, pool: pool)
        let after = output(network)
        #expect(after != before)
        #expect(try after == output(plain.packed(at: .bf16, trainedImages: chunk)))
    }
}
