import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import Foundation
import GoldenFiles
import TensorMath
import Testing

/// One batch of DiT's own objective against PyTorch's loss and gradients.
@Suite struct GradientTests {
    @Test(arguments: [false, true], [1, 2])
    func everyGradientAgreesWithTheRecordedOne(full: Bool, threads: Int) throws {
        let configuration = GoldenModels.tiny
        let base = try Golden("dit-tiny"), adapter = try Golden("difffit-tiny-adapter"), recorded = try Golden("difffit-tiny-loss")
        let layout = TunableLayout(configuration)
        let count = recorded["t"].count, size = recorded["x0"].count / count
        let values = TrainableValues(layout, classes: 10, withWeights: full)
        let vector = adapter.vector(layout, over: base.vector(layout))
        values.vector.copy(from: vector.values)
        values.classTable.copy(from: adapter[TunableLayout.classTableName])
        let weights = base.weights(configuration)
        let objective = TrainingObjective(.dit)
        let x0 = recorded.matrix("x0", rows: count), noise = recorded.matrix("noise", rows: count)
        let xt = Memory(capacity: count * size + 16).take(count, size)
        let times = recorded["t"].map(Double.init)
        for k in 0..<count {
            x0.row(k).withSpan { x0 in
                noise.row(k).withSpan { noise in xt.row(k).withMutableSpan { objective.mix(x0: x0, noise: noise, t: times[k], into: &$0) } }
            }
        }
        #expect(relativeError(xt.array, recorded["x_t"]) < 1e-6)

        // Frozen matrices are packed, as in a run; moving ones are read where they lie.
        let network = DiT(configuration, weights: weights)
        let step = GradientStep(
            try full ? network : network.packed(at: .f32), layout: layout, classes: 10, trainsWeights: full, pool: ThreadPool(threads: threads), chunk: 2)
        let losses = Memory(capacity: 16).take(count), outs = Memory(capacity: 2 * count * size + 16).take(count, 2 * size)
        step.run(x: xt, times: times.map(objective.embedderTime), classes: recorded["y"].map { Int($0) }, tunables: values.tunables) { k, out, slope in
            outs.row(k).copy(from: out)
            let loss = out.withSpan { out in
                x0.row(k).withSpan { x0 in
                    noise.row(k).withSpan { noise in
                        xt.row(k).withSpan { xt in
                            slope.withMutableSpan {
                                objective.loss(output: out, x0: x0, noise: noise, xt: xt, t: times[k], scale: 1 / Float(count), gradient: &$0)
                            }
                        }
                    }
                }
            }
            losses[0, k] = loss.total
        }
        step.finish()
        #expect(relativeError(outs.array, recorded["out"]) < 1e-4)
        #expect(relativeError([losses.array.reduce(0, +) / Float(count)], [recorded["loss"].reduce(0, +) / Float(recorded["loss"].count)]) < 1e-4)

        var checked = 0
        let gradient = step.gradients
        for tensor in layout.tensors {
            guard let expected = recorded.tensors["grad." + tensor.name] else { continue }
            checked += 1
            #expect(relativeError(gradient.vector.values(tensor.range).array, expected.values) < 1e-4, "\(tensor.name)")
        }
        #expect(relativeError(gradient.classTable.array, recorded["grad." + TunableLayout.classTableName]) < 1e-4)
        checked += 1
        if let matrices = gradient.weights {
            for (matrix, named) in zip(matrices.all, configuration.frozenTensors) {
                #expect(relativeError(matrix.array, recorded["grad." + named.name]) < 1e-4, "\(named.name)")
                checked += 1
            }
        }
        let all = recorded.tensors.keys.filter { $0.hasPrefix("grad.") && (full || !isMatrix($0)) }.count
        #expect(checked == all)
    }
}

func isMatrix(_ key: String) -> Bool {
    key.hasSuffix(".weight") && !key.contains("norm") && !key.contains("embedding_table")
}
