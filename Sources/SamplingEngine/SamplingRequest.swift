import AdapterFormat
import Diffusion
import ImageFiles

/// What a request gets that asks for nothing else, from the command line and from the service alike.
package enum UsualSampling {
    package static let steps = 40
    package static let guidanceScale: Float = 3

    package static func sampler(_ path: DiffusionPath) -> Sampler { path == .rectifiedFlow ? .ab2 : .ddim }
}

/// The random numbers of one image, from outside.
package struct GivenNoise: Sendable {
    /// The latent to start from, (C S S).
    package var start: [Float]
    /// Noise of each network call, (C S S); empty leaves the image's own.
    package var steps: [[Float]]

    package init(start: [Float], steps: [[Float]] = []) {
        self.start = start
        self.steps = steps
    }
}

/// How the images of one recipe are sampled.
package struct BoundSampling: Sendable, Hashable {
    package let sampler: Sampler
    package let steps: Int
    package var guidance: ImageGuidance
    /// Of the sampler `fitted`.
    package var solver: FittedSolver?

    package init(sampler: Sampler, steps: Int, guidance: ImageGuidance, solver: FittedSolver? = nil) {
        self.sampler = sampler
        self.steps = steps
        self.guidance = guidance
        self.solver = solver
    }
}

/// What a client asks for.
package struct SamplingRequest: Sendable {
    /// Clients take turns, and the requests of one client do.
    package var client: String
    /// A job: its client does not wait at the door, so it passes nobody.
    package var isJob = false
    /// What composing its recipe was charged, in network rows.
    package var composingCost = 0
    package var images: [ImageOrder]
    package var sampler: Sampler
    package var steps: Int
    /// What the sampler `fitted` was fitted to be; its steps are the request's.
    package var solver: FittedSolver?
    package var deadline: ContinuousClock.Instant?
    /// Previews of each image on its way, 0 to 3.
    package var partialImages: Int
    /// What makes its pictures and previews; nil is `DecoderKind.usual` of each.
    package var decoder: DecoderKind?
    /// Whether every latent is reported.
    package var traces = false
    /// Whether no pictures are made.
    package var latentsOnly = false

    package init(
        client: String, images: [ImageOrder], sampler: Sampler, steps: Int, deadline: ContinuousClock.Instant? = nil, partialImages: Int = 0
    ) {
        self.client = client
        self.images = images
        self.sampler = sampler
        self.steps = steps
        self.deadline = deadline
        self.partialImages = partialImages
    }

    /// - Throws: `DiffusionError`: the sampler does not serve the path, or `fitted` was asked for without a solver.
    func plan(_ convention: DiffusionConvention, channels: Int, clips: Bool) throws(DiffusionError) -> SamplingPlan {
        if sampler == .fitted, let solver {
            if let shifts = solver.start?.shift.count, shifts != channels {
                throw .brokenSolver("its first jump has shifts for \(shifts) channels, and the base has \(channels)")
            }
            return try SamplingPlan(solver, convention, clips: clips)
        }
        return try SamplingPlan(sampler, steps: steps, convention, clips: clips)
    }
}

package struct RequestID: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let number: UInt64
    package var description: String { String(number) }
    package init(number: UInt64) { self.number = number }
    package static func < (a: RequestID, b: RequestID) -> Bool { a.number < b.number }
}

/// An admitted request. Dropping `events` cancels it at the next step.
package struct SamplingTicket: Sendable {
    package let id: RequestID
    /// Images ahead in the queue.
    package let position: Int
    package let events: AsyncStream<SamplingEvent>
}

package enum SamplingEvent: Sendable {
    /// Its first image entered the batch.
    case started
    /// Whole steps done and to do, over all its images; a step of Heun's takes two network calls.
    case progress(step: Int, of: Int)
    /// Preview `number` of an image: the data as the network predicts them now.
    case partial(image: Int, number: Int, picture: RGBImage)
    /// A traced image's latent after network call `call`.
    case latent(image: Int, call: Int, values: [Float])
    case image(Int, FinishedImage)
    case finished(RequestTimes)
    case failed(SamplingFailure)
}

package struct FinishedImage: Sendable {
    /// nil where the request wanted latents alone.
    package let picture: RGBImage?
    /// (C S S).
    package let latent: [Float]
    /// The adapter that ran, or the first of several.
    package let digest: Digest
}

package struct RequestTimes: Sendable {
    /// From admission to its first network call.
    package var queue = Duration.zero
    /// Overwriting adapter slots for it.
    package var swap = Duration.zero
    /// From its first network call to its last.
    package var sample = Duration.zero
    package var decode = Duration.zero
    /// Rows of the largest network call it was part of.
    package var batchRows = 0
}

package enum SamplingFailure: Error, Sendable, Hashable, CustomStringConvertible {
    case cancelled
    case deadlinePassed
    /// What images of one size need could not be built.
    case noNetwork(size: Int, reason: String)

    package var description: String {
        switch self {
        case .cancelled: "the request was cancelled"
        case .deadlinePassed: "the request's deadline passed before it was done"
        case .noNetwork(let size, let reason): "images of \(size)x\(size) cannot be made here: \(reason)"
        }
    }
}

/// What became of a request, all at once.
package struct SampledImages: Sendable {
    /// In the order of the request.
    package var images: [FinishedImage] = []
    package var times = RequestTimes()
    /// Of a traced request: every latent, by image and network call.
    package var latents: [[[Float]]] = []
}

extension SamplingEngine {
    /// Samples a request from its start to its end.
    /// - Parameter onEvent: sees each event as it comes.
    /// - Throws: what `submit` throws, and `SamplingFailure`.
    package nonisolated func sample(
        _ request: SamplingRequest, onEvent: (SamplingEvent) -> Void = { _ in }
    ) async throws -> SampledImages {
        let ticket = try await submit(request)
        var finished = [FinishedImage?](repeating: nil, count: request.images.count)
        var result = SampledImages()
        result.latents = [[[Float]]](repeating: [], count: request.traces ? request.images.count : 0)
        for await event in ticket.events {
            onEvent(event)
            switch event {
            case .image(let index, let image): finished[index] = image
            case .latent(let image, _, let values): result.latents[image].append(values)
            case .finished(let times): result.times = times
            case .failed(let failure): throw failure
            case .started, .progress, .partial: break
            }
        }
        result.images = finished.compactMap { $0 }
        // The stream ends early only where the task was cancelled.
        guard result.images.count == request.images.count else { throw SamplingFailure.cancelled }
        return result
    }
}
