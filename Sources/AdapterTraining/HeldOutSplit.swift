import TensorMath

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
