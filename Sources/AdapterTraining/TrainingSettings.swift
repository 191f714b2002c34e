import Diffusion
import Foundation
import TensorMath

/// How a training run goes, all of it recorded with the result.
package struct TrainingSettings: Sendable, Hashable, Codable {
    package var steps: Int
    package var batch: Int
    package var seed: UInt64
    package var learningRate: Float
    package var beta2: Float = 0.95
    package var weightDecay: Float = 0
    /// Steps over which the learning rate rises from nothing, in a run of at least ten times as many.
    package var warmup: Int = 100
    /// The last share of the steps, over which the learning rate falls to a fiftieth on a cosine.
    package var decayShare: Double = 0.4
    package var emaDecay: Double = 0.998
    /// Largest gradient norm.
    package var clip: Double = 1
    /// Probability that a label gives way to the null class.
    package var labelDropout: Float = 0.1
    /// Whether images are mirrored at random.
    package var flips: Bool = false
    package var lossWeighting: String = "constant"
    /// Batches whose gradients are added up for one step; memory is needed for one.
    package var accumulation: Int = 1
    /// Whether every class is drawn as often as any other, however many images it has.
    package var balancesClasses: Bool = false
    /// Parts into which a batch is dealt and whose gradients are added in order: with the batch, all that the order of
    /// summation depends on. nil is one per compute thread.
    package var shards: Int?
    /// Share of each class that is never trained on.
    package var validationShare: Double = 0
    /// Steps between two looks at the held-out images.
    package var validationInterval: Int = 100
    /// Ends the run after so many looks without a better one.
    package var patience: Int?
    /// Routing of tokens around middle blocks (`TokenCut`), "none" or "route:0.3@[2,6]".
    package var tokenCut: String = "none"
    /// Share of the values that is the base's again at the end, reached on a cubic schedule over the second half of the run.
    package var sparsity: Double = 0
    /// Of the frozen matrices' products, forward and back: f32 or bf16. Gradients, moments and values are float32.
    package var precision = Precision.f32

    package init(steps: Int, batch: Int, seed: UInt64, learningRate: Float) {
        self.steps = steps
        self.batch = batch
        self.seed = seed
        self.learningRate = learningRate
    }

    enum CodingKeys: String, CodingKey {
        case steps, batch, seed, warmup, clip, flips
        case learningRate = "learning_rate"
        case beta2
        case weightDecay = "weight_decay"
        case decayShare = "decay_share"
        case emaDecay = "ema_decay"
        case labelDropout = "label_dropout"
        case lossWeighting = "loss_weighting"
        case accumulation, shards, patience, sparsity, precision
        case balancesClasses = "balance_classes"
        case validationShare = "validation_share"
        case validationInterval = "validation_interval"
        case tokenCut = "token_cut"
    }

    /// Steps over which the learning rate rises: at most a tenth of the run, so that a short one learns.
    package var usedWarmup: Int { min(max(warmup, 1), max(1, steps / 10)) }

    /// The average's decay after a step, counted from 0: a plain mean at first, so that neither a run's start nor a short run is held back.
    package func usedDecay(at step: Int) -> Double { min(emaDecay, Double(step + 1) / Double(step + 10)) }

    /// How a run that is too short for its warm-up or its average adapts them, in one line; nil where it does not.
    package var shortRunLine: String? {
        let decay = usedDecay(at: steps - 1)
        let parts = [
            usedWarmup < warmup ? "the learning rate rises over \(usedWarmup) \(usedWarmup == 1 ? "step" : "steps") in place of \(warmup)" : nil,
            Double(steps) * (1 - emaDecay) < 1 && decay < emaDecay ? "the average spans its last \(Int((1 / (1 - decay)).rounded())) in place of \(Int((1 / (1 - emaDecay)).rounded()))" : nil,
        ].compactMap { $0 }
        return parts.isEmpty ? nil : "a short run of \(steps) \(steps == 1 ? "step" : "steps"): \(parts.joined(separator: ", "))"
    }

    /// Images of one step.
    package var imagesPerStep: Int { batch * accumulation }

    /// AdamW's settings at one step, counted from 0.
    package func optimiser(at step: Int) -> AdamWSettings {
        let rise = min(1, Double(step + 1) / Double(usedWarmup))
        let start = Double(steps) * (1 - decayShare)
        let part = max(0, (Double(step) - start) / max(Double(steps) - start, 1))
        let fall = 0.02 + 0.98 * (1 + cos(.pi * min(part, 1))) / 2
        return AdamWSettings(learningRate: learningRate * Float(rise * fall), beta2: beta2, weightDecay: weightDecay)
    }
}
