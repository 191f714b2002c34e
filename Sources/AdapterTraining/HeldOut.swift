import Diffusion
import DiTModel
import Evaluation
import TensorMath

/// Keeps the values that did best on what is never trained on, and counts the looks since.
final class HeldOutWatch {
    let best: TrainableValues
    private(set) var bestStep: Int?
    private(set) var bestError = Float.infinity
    private var looksSince = 0
    private let patience: Int?

    init(best: TrainableValues, patience: Int?) {
        self.best = best
        self.patience = patience
    }

    var hasRunOut: Bool { patience.map { looksSince >= $0 } ?? false }

    func note(_ error: Float, step: Int, _ values: TrainableValues) {
        guard error < bestError else {
            looksSince += 1
            return
        }
        best.all.copy(from: values.all)
        (bestStep, bestError, looksSince) = (step, error, 0)
    }

    /// Takes up the looks of an interrupted run, whose best values are given.
    func restore(_ looks: [TrainingHistory.Look], best values: [Float]) {
        for look in looks {
            if look.error < bestError { (bestStep, bestError, looksSince) = (look.step, look.error, 0) } else { looksSince += 1 }
        }
        best.all.copy(from: values)
    }
}

extension TrainingData {
    /// Some of the images as the network sees them; of posteriors, their means.
    package func labelledLatents(_ chosen: [Int], pool: ThreadPool) -> LabelledLatents {
        LabelledLatents(labels: chosen.map { labels[$0] }, size: valueCount, pool: pool) { index, x in
            guard let latents else { return copy(chosen[index], flipped: false, into: x) }
            x.fill(0)
            latents.sample(chosen[index], flipped: false, into: x)
        }
    }
}

extension TrainingData {
    /// A share of every class set aside, chosen by the seed alone; a class keeps at least one image to train on.
    ///
    /// - Returns: what is left to train on, and what was set aside: nil where that is nothing.
    package func split(holdingOut share: Double, seed: UInt64) -> (training: TrainingData, heldOut: TrainingData?) {
        var heldOut: Set<Int> = []
        for (label, images) in byClass.enumerated() where share > 0 {
            let wanted = min(max(1, Int((Double(images.count) * share).rounded())), images.count - 1)
            guard wanted > 0 else { continue }
            let draws = Philox(seed: seed, stream: 3 << 60 | UInt64(label))
            let order = images.indices.sorted { (draws.uniform(UInt64($0)), $0) < (draws.uniform(UInt64($1)), $1) }
            heldOut.formUnion(order.prefix(wanted).map { images[$0] })
        }
        guard !heldOut.isEmpty else { return (self, nil) }
        return (
            TrainingData(self, images: labels.indices.filter { !heldOut.contains($0) }),
            TrainingData(self, images: heldOut.sorted(), summary: summary + ", held out")
        )
    }

    /// Item and class of one draw in [0, 1): any image alike, or any class alike and then any of its images.
    package func item(at draw: Float, balanced: Bool) -> Int {
        guard balanced else { return min(count - 1, Int(draw * Float(count))) }
        let present = byClass.filter { !$0.isEmpty }
        let place = Double(draw) * Double(present.count)
        let images = present[min(present.count - 1, Int(place))]
        return images[min(images.count - 1, Int((place - place.rounded(.down)) * Double(images.count)))]
    }
}
