import Diffusion
import Foundation
import TensorFiles
import Testing

/// One image with its loss and gradient, through arrays.
private struct Sample {
    var objective: TrainingObjective
    var x0: [Float]
    var noise: [Float]
    var t: Double
    var xt: [Float]

    init(_ objective: TrainingObjective, x0: [Float], noise: [Float], t: Double) {
        self.objective = objective
        self.x0 = x0
        self.noise = noise
        self.t = t
        xt = [Float](repeating: .nan, count: x0.count)
        var span = xt.mutableSpan
        objective.mix(x0: x0.span, noise: noise.span, t: t, into: &span)
    }

    func loss(_ output: [Float], scale: Float = 1) -> (ImageLoss, gradient: [Float]) {
        var gradient = [Float](repeating: .nan, count: output.count)
        var span = gradient.mutableSpan
        let loss = objective.loss(
            output: output.span, x0: x0.span, noise: noise.span, xt: xt.span, t: t, scale: scale, gradient: &span)
        return (loss, gradient)
    }
}

private func slice(_ values: [Float], _ image: Int, of images: Int) -> [Float] {
    let count = values.count / images
    return Array(values[(image * count)..<((image + 1) * count)])
}

@Suite struct TrainingObjectiveTests {
    private static let velocity = TrainingObjective(try! DiffusionConvention(path: .rectifiedFlow, prediction: .velocity))
    private static let x0 = TrainingObjective(try! DiffusionConvention(path: .rectifiedFlow, prediction: .x0))
    private static let fixedVP = TrainingObjective(try! DiffusionConvention(path: .vp, prediction: .epsilon))

    @Test func agreesWithTheRecordedLoss() throws {
        let file = try TensorFile(path: golden("difffit-tiny-loss.safetensors"))
        let x0 = try file.floats("x0"), noise = try file.floats("noise"), xt = try file.floats("x_t"), out = try file.floats("out")
        let mse = try file.floats("mse"), vb = try file.floats("vb"), loss = try file.floats("loss")[0]
        let times: [Double] = [0, 1, 20, 250, 500, 999]
        var mean = 0.0
        for (image, t) in times.enumerated() {
            let sample = Sample(
                TrainingObjective(.dit), x0: slice(x0, image, of: 6), noise: slice(noise, image, of: 6), t: t)
            #expect(relativeError(sample.xt, slice(xt, image, of: 6)) < 1e-6)
            let (got, _) = sample.loss(slice(out, image, of: 6))
            #expect(isClose(Double(got.mse), Double(mse[image]), 1e-5), "mse at \(t): \(got.mse), \(mse[image])")
            #expect(isClose(Double(got.vlb), Double(vb[image]), 1e-5), "vb at \(t): \(got.vlb), \(vb[image])")
            #expect(got.total == got.mse + got.vlb)
            mean += Double(got.total) / 6
        }
        #expect(isClose(mean, Double(loss), 1e-5))
    }

    /// `DiT.md`, "Training loss": figures of one scalar.
    @Test(arguments: [
        (0.0, Float(0.5), Float(0.2), 0.04, 1.582555484), (1, 0.5, 0.2, 0.04, 0.09086282671), (500, 0.5, 0.2, 0.04, 3.181592533e-4),
        (999, 0.5, 0.2, 0.04, 5.88879079e-4), (0, 0, 0, 0.49, 1.954360923), (500, 0, 0, 0.49, 3.896681591e-3),
    ])
    func agreesWithTheScalarBound(t: Double, epsilon: Float, v: Float, mse: Double, vlb: Double) {
        let (loss, _) = Sample(TrainingObjective(.dit), x0: [0.3], noise: [0.7], t: t).loss([epsilon, v])
        #expect(isClose(Double(loss.mse), mse, 1e-5))
        #expect(isClose(Double(loss.vlb), vlb, 2e-4), "\(loss.vlb), \(vlb)")
    }

    @Test(arguments: [0.0, 1, 30, 500, 999])
    func gradientOfTheBoundReachesOnlyTheVariance(t: Double) {
        let x0: [Float] = [0.3, -0.9995, 0.9999, -0.2], noise: [Float] = [0.2, -0.3, 0.5, 0.1]
        let sample = Sample(TrainingObjective(.dit), x0: x0, noise: noise, t: t)
        let output: [Float] = [0.4, 0.1, 0.6, -0.2, 0.3, -0.6, 1.2, 0.1]
        let gradient = sample.loss(output).gradient
        for i in 0..<4 {
            #expect(isClose(Double(gradient[i]), Double(2 * (output[i] - noise[i]) / 4), 1e-5))
            var up = output, down = output
            up[4 + i] += 0.02
            down[4 + i] -= 0.02
            let slope = Double(sample.loss(up).0.vlb - sample.loss(down).0.vlb) / 0.04
            #expect(isClose(Double(gradient[4 + i]), slope, 5e-3, floor: 1e-3), "\(i) at \(t): \(gradient[4 + i]), \(slope)")
        }
    }

    @Test(arguments: [velocity, x0, fixedVP], ["constant", "min-snr:5", "soft-min-snr:4"])
    func gradientIsTheSlopeOfTheLoss(objective: TrainingObjective, weighting: String) throws {
        let objective = TrainingObjective(objective.convention, weighting: try LossWeighting(weighting))
        let sample = Sample(
            objective, x0: [0.3, -0.8, 1, 0.5], noise: [0.2, -1.3, 0.5, 2], t: objective.convention.path == .rectifiedFlow ? 0.7 : 300)
        let output: [Float] = [0.1, 0.2, -0.4, 0.9]
        let (loss, gradient) = sample.loss(output, scale: 0.25)
        for i in 0..<4 {
            var up = output, down = output
            up[i] += 0.05
            down[i] -= 0.05
            let slope = 0.25 * Double(sample.loss(up).0.total - sample.loss(down).0.total) / 0.1
            #expect(isClose(Double(gradient[i]), slope, 1e-4, floor: 1e-2))
        }
        // A second half that stands for nothing changes nothing and learns nothing.
        let wide = sample.loss(output + [7, 7, 7, 7], scale: 0.25)
        #expect(wide.0 == loss)
        #expect(wide.gradient == gradient + [0, 0, 0, 0])
    }

    @Test func linearPathTakesTheLossOnTheVelocity() {
        let x0: [Float] = [0.5, -1], noise: [Float] = [1.5, 0.25]
        let velocity = Sample(Self.velocity, x0: x0, noise: noise, t: 0.75)
        #expect(velocity.xt == [0.75, -0.6875])
        #expect(velocity.loss([-1, -1.25]).0.mse == 0)
        #expect(velocity.loss([0, -1.25]).0.mse == 0.5)
        // Data off by (0.1, 0) at 1 - t = 1/4 is a velocity off by (0.4, 0); nearer the data the divisor stays 0.05.
        #expect(isClose(Double(Sample(Self.x0, x0: x0, noise: noise, t: 0.75).loss([0.6, -1]).0.mse), 0.08, 1e-5))
        #expect(isClose(Double(Sample(Self.x0, x0: x0, noise: noise, t: 0.99).loss([0.6, -1]).0.mse), 2, 1e-5))
    }

    @Test func timesFollowTheirDistribution() {
        let count = 4000
        let linear = (0..<count).map { Self.x0.time(TrainingDraws(seed: 3, step: $0, image: 1)) }
        let logits = linear.map { log($0 / (1 - $0)) }
        let mean = logits.reduce(0, +) / Double(count)
        let variance = logits.map { ($0 - mean) * ($0 - mean) }.reduce(0, +) / Double(count)
        #expect(abs(mean + 0.3) < 0.06)
        #expect(abs(variance - 1) < 0.1)
        let steps = (0..<count).map { Self.fixedVP.time(TrainingDraws(seed: 3, step: 5, image: $0)) }
        #expect(steps.allSatisfy { $0 >= 0 && $0 <= 999 && $0 == $0.rounded() })
        #expect(abs(steps.reduce(0, +) / Double(count) - 499.5) < 20)
        #expect(steps.min()! < 5)
        #expect(steps.max()! > 994)
        #expect(Self.x0.embedderTime(0.25) == 250)
        #expect(Self.fixedVP.embedderTime(250) == 250)
    }

    @Test func drawsDependOnSeedStepAndImageAlone() {
        func all(_ seed: UInt64, _ step: Int, _ image: Int) -> [Float] {
            let draws = TrainingDraws(seed: seed, step: step, image: image)
            var noise = [Float](repeating: 0, count: 7)
            draws.noise.normals(into: &noise)
            return noise + [draws.item, Float(Self.x0.time(draws))]
        }
        #expect(all(1, 2, 3) == all(1, 2, 3))
        #expect(Set([all(1, 2, 3), all(2, 2, 3), all(1, 3, 3), all(1, 2, 4), all(1, 3, 2)]).count == 5)
        let dropped = (0..<4000).filter { TrainingDraws(seed: 1, step: $0, image: 0).dropsLabel(rate: 0.1) }.count
        let flipped = (0..<4000).filter { TrainingDraws(seed: 1, step: $0, image: 0).flips }.count
        #expect((320...480).contains(dropped))
        #expect((1850...2150).contains(flipped))
    }

    @Test func conventionsThatMeanNothingAreRefused() {
        #expect(throws: DiffusionError.predictionOffPath(.velocity, .vp)) {
            try DiffusionConvention(path: .vp, prediction: .velocity)
        }
        #expect(throws: DiffusionError.learnedVarianceOffPath(.rectifiedFlow)) {
            try DiffusionConvention(path: .rectifiedFlow, prediction: .x0, learnsVariance: true)
        }
        #expect(throws: DiffusionError.timeScale(0)) { try DiffusionConvention(path: .rectifiedFlow, prediction: .x0, timeScale: 0) }
        #expect(
            DiffusionError.predictionOffPath(.epsilon, .rectifiedFlow).description
                == "a network on the path 'linear' predicts 'velocity' or 'x0', not 'epsilon'")
    }
}
