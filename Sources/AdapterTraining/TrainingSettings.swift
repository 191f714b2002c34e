import Diffusion
import Foundation
import TensorMath

/// How a training run goes, all of it recorded with the result.
public struct TrainingSettings: Sendable, Hashable, Codable {
    /// Steps of AdamW.
    public var steps: Int
    /// Images of one batch.
    public var batch: Int
    /// Of the random numbers: the same seed, data and base give the same adapter on the same machine.
    public var seed: UInt64
    /// AdamW's largest step.
    public var learningRate: Float
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
    public var labelDropout: Float = 0.1
    /// Whether images are mirrored at random.
    public var flips: Bool = false
    package var lossWeighting: String = "constant"
    /// Batches whose gradients are added up for one step; memory is needed for one.
    package var accumulation: Int = 1
    /// Whether every class is drawn as often as any other, however many images it has.
    package var balancesClasses: Bool = false
    /// Parts into which a batch is dealt and whose gradients are added in order: with the batch, all that the order of
    /// summation depends on. nil is one per compute thread.
    package var shards: Int?
    /// Share of each class that is never trained on.
    public var validationShare: Double = 0
    /// Steps between two looks at the held-out images.
    public var validationInterval: Int = 100
    /// Ends the run after so many looks without a better one.
    public var patience: Int?
    /// Routing of tokens around middle blocks (`TokenCut`), "none" or "route:0.3@[2,6]".
    package var tokenCut: String = "none"
    /// Share of the values that is the base's again at the end, reached on a cubic schedule over the second half of the run.
    package var sparsity: Double = 0
    /// Of the frozen matrices' products, forward and back: f32 or bf16. Gradients, moments and values are float32.
    package var precision = Precision.f32
    /// Of full training: how many of how many neighbouring weights of the blocks' matrices the network computes with, "2:4"; nil is all.
    package var pattern: String?

    /// The defaults are those of `adapterctl train`.
    public init(steps: Int = 1500, batch: Int = 64, seed: UInt64 = 1, learningRate: Float = 5e-3) {
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
        case accumulation, shards, patience, sparsity, precision, pattern
        case balancesClasses = "balance_classes"
        case validationShare = "validation_share"
        case validationInterval = "validation_interval"
        case tokenCut = "token_cut"
    }

    /// What no run can have, in a sentence; nil where every value is in its range.
    package var fault: String? {
        guard steps > 0, batch > 0, validationInterval > 0, (patience ?? 1) > 0 else { return "steps, batch, validationInterval and patience are above 0" }
        guard learningRate > 0, learningRate.isFinite else { return "learningRate is a number above 0, not \(learningRate)" }
        guard (0..<1).contains(labelDropout), (0..<1).contains(validationShare) else {
            return "labelDropout and validationShare are shares from 0 up to, but not with, 1"
        }
        return patience == nil || validationShare > 0 ? nil : "patience needs held-out images: set validationShare, such as 0.1"
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
            Double(steps) * (1 - emaDecay) < 1 && decay < emaDecay
                ? "the average spans its last \(Int((1 / (1 - decay)).rounded())) in place of \(Int((1 / (1 - emaDecay)).rounded()))" : nil,
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
