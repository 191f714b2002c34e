import AdapterFormat
import AdapterTraining
import ArgumentParser
import DiTModel
import Foundation
import TensorMath

/// How long and how fast a run trains, and how it is watched.
struct TrainingOptions: ParsableArguments {
    @Option(help: "Steps of the optimiser.") var steps = 1500
    @Option(help: "Images of one batch.") var batch = 64
    @Option(help: "Batches whose gradients are added up for one step.") var accumulate = 1
    @Option(help: "Of the random numbers: the same seed gives the same result.", transform: seedNumber) var seed: UInt64 = 1
    @Option(help: "AdamW's largest step (default: 1e-3 for a base, 5e-3 for an adapter).") var learningRate: Float?
    @Option(help: "constant, min-snr:5 or soft-min-snr:5, over the times of the diffusion.") var lossWeight = "constant"
    @Option(help: "Decay of the moving average that is kept as the result.") var emaDecay = 0.998
    @Option(help: "Share of the labels that give way to the null class, which guidance leans on.") var labelDropout: Float = 0.1
    @Flag(help: "Mirror images at random.") var flip = false
    @Flag(help: "Draw every class as often as any other, however many images it has.") var balance = false
    @Option(help: "Share of each class that is held out to measure on, such as 0.1.") var validation = 0.0
    @Option(help: "Steps between two measurements on the held-out images.") var validateEvery = 100
    @Option(help: "Stop after so many measurements without a better one, and keep the best.") var earlyStop: Int?
    @Option(help: "Route tokens around middle blocks for the first 70 % of the steps: route:0.3, or route:0.3@[2,L-2].") var tokenCut = "none"
    @Option(help: "Give this share of the values back to the base over the second half of the run, such as 0.8.") var sparsity = 0.0
    @Option(help: "Parts that a batch is dealt in; the same number gives the same bytes on any number of threads and processes.") var shards: Int?
    @Option(help: "Of the matrices' products: f32, bf16 (values, gradients and sums stay f32), or auto: bf16 where this processor multiplies it.")
    var precision =
        PrecisionChoice.auto.rawValue

    func validate() throws {
        guard steps > 0, batch > 0, accumulate > 0, validateEvery > 0, (shards ?? 1) > 0, (earlyStop ?? 1) > 0 else {
            throw ValidationError("--steps, --batch, --accumulate, --validate-every, --shards and --early-stop are above 0")
        }
        guard batch < 1 << 24, accumulate < 1 << 24, batch * accumulate < 1 << 24 else { throw ValidationError("a step takes fewer than 16777216 images") }
        guard steps < 1 << 38 else { throw ValidationError("--steps is below \(1 << 38)") }
        guard (0..<1).contains(emaDecay) else { throw ValidationError("--ema-decay is from 0 up to, but not with, 1") }
        guard (learningRate ?? 1) > 0, (learningRate ?? 1).isFinite else { throw ValidationError("--learning-rate is a number above 0") }
        guard (0..<1).contains(labelDropout) else { throw ValidationError("--label-dropout is a share from 0 up to, but not with, 1") }
        guard (0..<1).contains(validation), (0..<1).contains(sparsity) else {
            throw ValidationError("--validation and --sparsity are shares from 0 up to, but not with, 1")
        }
        guard earlyStop == nil || sparsity == 0 else { throw ValidationError("--early-stop may end a run before --sparsity is reached: give one of them") }
        guard earlyStop == nil || validation > 0 else { throw ValidationError("--early-stop needs held-out images: give --validation 0.1") }
    }

    func settings(learningRate usual: Float, _ method: TrainableSet.Method) throws -> TrainingSettings {
        var settings = TrainingSettings(steps: steps, batch: batch, seed: seed, learningRate: learningRate ?? usual)
        settings.lossWeighting = lossWeight
        settings.emaDecay = emaDecay
        settings.flips = flip
        settings.labelDropout = labelDropout
        settings.accumulation = accumulate
        settings.balancesClasses = balance
        settings.validationShare = validation
        settings.validationInterval = validateEvery
        settings.patience = earlyStop
        settings.tokenCut = tokenCut
        settings.sparsity = sparsity
        settings.shards = shards
        settings.precision = try trainingPrecision(precision)
        return settings
    }
}

/// A precision that gradients can go through, or f32 with one line on standard error where this machine does not have it.
func trainingPrecision(_ text: String) throws -> Precision {
    try precisionNamed(text, among: [.auto, .f32, .bf16])
}
