import Diffusion
import ImageFiles
import TensorMath

/// A request on its way: what was asked for, whom to tell, and its times.
struct RunningRequest {
    let request: SamplingRequest
    let plan: SamplingPlan
    /// Per image, what each of its calls needs.
    let walks: [ImageWalk]
    let events: AsyncStream<SamplingEvent>.Continuation
    var times = RequestTimes()
    private let admitted = ContinuousClock.now
    private var started: ContinuousClock.Instant?
    private var callsDone = 0

    init(_ request: SamplingRequest, plan: SamplingPlan, walks: [ImageWalk], events: AsyncStream<SamplingEvent>.Continuation) {
        self.request = request
        self.plan = plan
        self.walks = walks
        self.events = events
    }

    var timesAtEnd: RequestTimes {
        var times = times
        times.sample = started.map { .now - $0 - times.decode } ?? .zero
        return times
    }

    mutating func start(_ id: Scheduler.ImageID, bankRows: [Int], count: Int, tokens: (rows: Int, columns: Int)) -> RunningImage {
        if started == nil {
            let now = ContinuousClock.now
            started = now
            times.queue = now - admitted
            events.yield(.started)
        }
        let order = request.images[id.image]
        let state = SamplerState(plan, count: count, seed: order.seed, image: order.index)
        var stepNoise: [Matrix] = []
        if let given = order.given {
            state.latent.copy(from: given.start)
            let memory = Memory(capacity: given.steps.count * Memory.paddedCount(count))
            stepNoise = given.steps.map { values in
                let noise = memory.take(count)
                noise.copy(from: values)
                return noise
            }
        }
        let walk = walks[id.image]
        let rows = Dictionary(uniqueKeysWithValues: zip(walk.adapters(from: 0), bankRows))
        return RunningImage(
            id: id, order: order, walk: walk, bankRows: rows, state: state, stepNoise: stepNoise,
            residuals: order.cache == nil ? [] : (0..<walk.rows(from: 0)).map { _ in ResidualCache(tokens.rows, tokens.columns) })
    }

    /// Tells of one network call of one image.
    mutating func report(_ image: RunningImage, rows: Int, size: Int) {
        callsDone += 1
        times.batchRows = max(times.batchRows, rows)
        events.yield(.progress(step: callsDone, of: plan.evaluations * request.images.count))
        let (position, last) = (image.state.position, plan.evaluations)
        if request.traces { events.yield(.latent(image: image.id.image, step: position, values: image.state.latent.array)) }
        // Previews at equal distances, none at the end: the image itself comes there.
        for number in 0..<request.partialImages where position == last * (number + 1) / (request.partialImages + 1) && position < last && position > 0 {
            let picture = RGBImage(latent: image.state.predictedData.array, size: size)
            events.yield(.partial(image: image.id.image, number: number, picture: picture))
        }
    }

    mutating func finish(_ image: RunningImage, size: Int) {
        let start = ContinuousClock.now
        let latent = image.state.latent.array
        let picture = RGBImage(latent: latent, size: size)
        times.decode += .now - start
        events.yield(.image(image.id.image, FinishedImage(picture: picture, latent: latent, digest: image.order.stages[0].parts[0].adapter.digest)))
    }
}

extension RGBImage {
    /// The picture of a pixel-space latent (3 S S) in -1...1.
    package init(latent: [Float], size: Int) {
        self.init(width: size, height: size)
        let plane = size * size
        for index in 0..<plane {
            for channel in 0..<3 {
                let value = (latent[channel * plane + index] + 1) * 127.5
                pixels[index * 3 + channel] = UInt8(min(max(value, 0), 255).rounded(.toNearestOrEven))
            }
        }
    }
}
