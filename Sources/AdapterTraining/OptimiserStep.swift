import DiTModel
import TensorMath

/// AdamW's step over the ranges that move, and the average after it, split over the pool.
/// - Parameters:
///   - step: counted from 1.
///   - decay: of the average.
package func takeStep(
    _ values: TrainableValues, m: TrainableValues, v: TrainableValues, average: TrainableValues, gradients: TrainableValues, moved: [Range<Int>],
    step: Int, _ optimiser: AdamWSettings, gradientScale: Float = 1, decay: Double, pool: ThreadPool
) {
    pool.run { thread in
        for range in moved {
            let share = pool.share(of: range.count, thread: thread)
            let part = (range.lowerBound + share.lowerBound)..<(range.lowerBound + share.upperBound)
            adamW(
                values.all.values(part), m: m.all.values(part), v: v.all.values(part), g: gradients.all.values(part), step: step, optimiser,
                gradientScale: gradientScale)
            updateAverage(average.all.values(part), with: values.all.values(part), decay: decay)
        }
    }
}
