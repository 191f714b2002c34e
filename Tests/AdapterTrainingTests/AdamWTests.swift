import AdapterFormat
import AdapterTraining
import DiTModel
import Diffusion
import GoldenFiles
import TensorMath
import Testing

/// Three optimiser steps of the public implementation, from the same inputs.
@Suite struct AdamWTests {
    @Test(arguments: [false, true])
    func threeStepsEndWherePyTorchEnds(full: Bool) throws {
        let configuration = GoldenModels.tiny
        let base = try Golden("dit-tiny"), adapter = try Golden("difffit-tiny-adapter")
        let inputs = try Golden("difffit-tiny-adamw3"), recorded = try Golden(full ? "full-tiny-adamw3" : "difffit-tiny-adamw3")
        let layout = TunableLayout(configuration)
        let hasGammas = recorded.tensors["param.blocks.0.gamma1"] != nil
        let values = TrainableValues(layout, classes: 10, withWeights: full)
        values.vector.copy(from: (hasGammas ? adapter.vector(layout, over: base.vector(layout)) : base.vector(layout)).values)
        values.classTable.copy(from: (hasGammas ? adapter : base)[TunableLayout.classTableName])
        let frozen = base.weights(configuration)
        if let weights = values.weights { for (to, from) in zip(weights.all, frozen.all) { to.copy(from: from) } }
        let objective = TrainingObjective(.dit)
        let step = GradientStep(
            DiT(configuration, weights: values.weights ?? frozen), layout: layout, classes: 10, trainsWeights: full, pool: ThreadPool(threads: 1))
        let moments = (0..<3).map { _ in TrainableValues(layout, classes: 10, withWeights: full) }
        let (m, v, average) = (moments[0], moments[1], moments[2])
        average.all.copy(from: values.all)
        let count = 6, size = 256
        let settings = AdamWSettings(learningRate: full ? 1e-4 : 1e-3)
        let set = full && !hasGammas ? TrainableSet(.full, gammaDepth: 0) : TrainableSet(.difffit, gammaDepth: 2)
        for number in 0..<3 {
            let x0 = inputs.matrix("step\(number).x0", rows: count), noise = inputs.matrix("step\(number).noise", rows: count)
            let times = inputs["step\(number).t"].map(Double.init)
            let xt = Memory(capacity: count * size + 16).take(count, size), losses = Memory(capacity: 16).take(count)
            for k in 0..<count {
                x0.row(k).withSpan { x0 in
                    noise.row(k).withSpan { noise in xt.row(k).withMutableSpan { objective.mix(x0: x0, noise: noise, t: times[k], into: &$0) } }
                }
            }
            step.run(x: xt, times: times.map(objective.embedderTime), classes: inputs["step\(number).y"].map { Int($0) }, tunables: values.tunables) {
                k, out, slope in
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
            let loss = losses.array.reduce(0, +) / Float(count)
            #expect(abs(loss - recorded["losses"][number]) < 1e-4 * abs(loss), "step \(number)")
            for range in values.ranges(of: set, in: layout) {
                adamW(values.all.values(range), m: m.all.values(range), v: v.all.values(range), g: step.gradients.all.values(range), step: number + 1, settings)
                updateAverage(average.all.values(range), with: values.all.values(range), decay: 0.9999)
            }
        }
        // Where a gradient is near zero Adam's step is all sign: 2 % of the three steps' length is allowed.
        var checked = 0
        let allowed = settings.learningRate * 3 * 0.02
        func check(_ name: String, _ values: [Float]) {
            guard let expected = recorded.tensors["param." + name]?.values else { return }
            checked += 1
            // A bias on the keys moves every score of a row alike: its gradient is zero but for rounding, its Adam step noise.
            let third = expected.count / 3
            let noise = name.hasSuffix("attn.qkv.bias") ? third..<(2 * third) : 0..<0
            let worst = expected.indices.filter { !noise.contains($0) }.reduce(Float(0)) { max($0, abs(values[$1] - expected[$1])) }
            #expect(worst < allowed, "\(name): \(worst)")
        }
        for tensor in layout.tensors {
            check(tensor.name, values.vector.values(tensor.range).array)
            if let expected = recorded.tensors["ema." + tensor.name] {
                #expect(relativeError(average.vector.values(tensor.range).array, expected.values) < 1e-5, "ema of \(tensor.name)")
            }
        }
        check(TunableLayout.classTableName, values.classTable.array)
        if let weights = values.weights {
            for (matrix, named) in zip(weights.all, configuration.frozenTensors) { check(named.name, matrix.array) }
        }
        #expect(checked == recorded.tensors.keys.filter { $0.hasPrefix("param.") }.count)
    }
}
