import Diffusion
import ImageFiles
import TensorMath

/// A request on its way: what was asked for, whom to tell, and its times.
struct RunningRequest {
    let request: SamplingRequest
    let plan: SamplingPlan
    /// Per image, what each of its calls needs.
    let stepPlans: [StepPlan]
    let events: AsyncStream<SamplingEvent>.Continuation
    var times = RequestTimes()
    private let admitted = ContinuousClock.now
    private var started: ContinuousClock.Instant?
    /// Whole steps over all images.
    private var stepsDone = 0

    init(_ request: SamplingRequest, plan: SamplingPlan, stepPlans: [StepPlan], events: AsyncStream<SamplingEvent>.Continuation) {
        self.request = request
        self.plan = plan
        self.stepPlans = stepPlans
        self.events = events
    }

    mutating func start(_ id: Scheduler.ImageID, slots: [Int], _ batch: StepBatch) -> RunningImage {
        if started == nil {
            let now = ContinuousClock.now
            started = now
            times.queue = now - admitted
            events.yield(.started)
        }
        let order = request.images[id.image]
        let count = batch.latentCount(order.grid)
        let state = SamplerState(plan, count: count, seed: order.seed, image: order.index)
        var stepNoise: [Matrix] = []
        if let given = order.given {
            state.begin(from: given.start)
            let memory = Memory(capacity: given.steps.count * Memory.paddedCount(count))
            stepNoise = given.steps.map { values in
                let noise = memory.take(count)
                noise.copy(from: values)
                return noise
            }
        }
        let stepPlan = stepPlans[id.image]
        let slots = Dictionary(uniqueKeysWithValues: zip(stepPlan.adapters(from: 0), slots))
        return RunningImage(
            id: id, order: order, stepPlan: stepPlan, slots: slots, state: state, stepNoise: stepNoise,
            residuals: order.cache == nil ? [] : (0..<stepPlan.rows(from: 0)).map { _ in batch.residualCache(order.grid) })
    }

    /// Tells of one network call of one image.
    /// - Returns: the numbers of the previews that are due.
    mutating func report(_ image: RunningImage, rows: Int) -> [Int] {
        times.batchRows = max(times.batchRows, rows)
        if let started { times.sample = .now - started - times.decode }
        let (position, last) = (image.state.position, plan.evaluations)
        let steps = plan.stepsDone(before: position) - plan.stepsDone(before: position - 1)
        if steps > 0 {
            stepsDone += steps
            events.yield(.progress(step: stepsDone, of: plan.steps * request.images.count))
        }
        if request.traces { events.yield(.latent(image: image.id.image, call: position, values: image.state.latent.array)) }
        // Previews at equal distances, none at the end: the image itself comes there.
        return (0..<request.partialImages).filter { position == last * ($0 + 1) / (request.partialImages + 1) && position < last && position > 0 }
    }

    /// Tells of a picture, made where the request wants any.
    mutating func deliver(_ pending: PendingPicture, _ picture: RGBImage?, took time: Duration) {
        times.decode += time
        switch pending.kind {
        case .preview(let number): if let picture { events.yield(.partial(image: pending.image, number: number, picture: picture)) }
        case .image(let digest, _):
            events.yield(.image(pending.image, FinishedImage(picture: picture, latent: pending.latent, digest: digest)))
        }
    }
}
