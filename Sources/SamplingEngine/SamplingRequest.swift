import AdapterFormat
import Diffusion
import ImageFiles

/// An adapter as a request holds it from admission on (law 3): immutable, whatever happens to its name meanwhile.
package struct BoundAdapter: Sendable {
    package let name: String
    package let digest: Digest
    package let vector: TunableVector
    package let classes: ClassTable

    package init(name: String, digest: Digest, vector: TunableVector, classes: ClassTable) {
        self.name = name
        self.digest = digest
        self.vector = vector
        self.classes = classes
    }
}

package enum GuidanceKind: String, Sendable, CaseIterable {
    /// Against the domain's own null class.
    case cfg
    case none
}

/// What a request gets that asks for nothing else, from the command line and from the service alike.
package enum UsualSampling {
    package static let steps = 40
    package static let guidanceScale: Float = 3

    package static func sampler(_ path: DiffusionPath) -> Sampler { path == .linear ? .multistep : .ddim }
}

/// One image to make.
package struct ImageOrder: Sendable {
    package var adapter: BoundAdapter
    /// Row of the adapter's class table.
    package var classIndex: Int
    package var seed: UInt64
    /// Image k of its request: with the seed, all that its random numbers depend on (law 6).
    package var index: UInt64
    package var guidanceScale: Float
    package var guidance: GuidanceKind
    /// Noise to use in place of the image's own.
    package var given: GivenNoise?

    package init(
        adapter: BoundAdapter, classIndex: Int, seed: UInt64, index: UInt64, guidanceScale: Float, guidance: GuidanceKind = .cfg,
        given: GivenNoise? = nil
    ) {
        self.adapter = adapter
        self.classIndex = classIndex
        self.seed = seed
        self.index = index
        self.guidanceScale = guidanceScale
        self.guidance = guidance
        self.given = given
    }

    package var isGuided: Bool { guidance != .none && guidanceScale != 1 }
    /// Rows of a network call: a guided image takes one more, of its null class.
    var rows: Int { isGuided ? 2 : 1 }
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

/// What a client asks for.
package struct SamplingRequest: Sendable {
    /// Clients take turns; requests of one client are its own affair.
    package var client: String
    package var images: [ImageOrder]
    package var sampler: Sampler
    package var steps: Int
    package var deadline: ContinuousClock.Instant?
    /// Previews of each image on its way, 0 to 3.
    package var partialImages: Int
    /// Whether every latent is reported.
    package var traces = false

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
}

package struct RequestID: Hashable, Sendable, Comparable, CustomStringConvertible {
    let number: UInt64
    package var description: String { String(number) }
    package static func < (a: RequestID, b: RequestID) -> Bool { a.number < b.number }
}

/// An admitted request. Dropping `events` cancels it at the next step.
package struct SamplingTicket: Sendable {
    package let id: RequestID
    /// Images ahead in the line.
    package let position: Int
    package let events: AsyncStream<SamplingEvent>
}

package enum SamplingEvent: Sendable {
    /// Its first image entered the batch.
    case started
    /// Network calls done and to do, over all its images.
    case progress(step: Int, of: Int)
    /// Preview `number` of an image: the data as the network predicts them now.
    case partial(image: Int, number: Int, picture: RGBImage)
    /// A traced image's latent after network call `step`.
    case latent(image: Int, step: Int, values: [Float])
    case image(Int, FinishedImage)
    case finished(RequestTimes)
    case failed(SamplingFailure)
}

package struct FinishedImage: Sendable {
    package let picture: RGBImage
    /// (C S S).
    package let latent: [Float]
    /// The adapter that ran.
    package let digest: Digest
}

package struct RequestTimes: Sendable {
    /// From admission to its first network call.
    package var queue = Duration.zero
    /// Overwriting rows of the bank for it.
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

    package var description: String {
        switch self {
        case .cancelled: "the request was cancelled"
        case .deadlinePassed: "the request's deadline passed before it was done"
        }
    }
}

/// Why a request was not admitted. Nothing of it was done.
package enum Refusal: Error, Sendable, Hashable, CustomStringConvertible {
    case queueFull(retryAfterSeconds: Int)
    case clientShareFull(retryAfterSeconds: Int)
    case tooLarge(cost: Int, limit: Int)
    case tooManyImages(count: Int, limit: Int)
    case noImages
    case draining
    case noSuchClass(index: Int, adapter: String, classes: Int)
    case otherLayout(adapter: String, values: Int, wanted: Int)
    case wrongNoise(values: Int, wanted: Int)

    package var description: String {
        switch self {
        case .queueFull(let seconds): "the line is full; try again in about \(seconds) s"
        case .clientShareFull(let seconds): "this client's share of the line is full; try again in about \(seconds) s"
        case .tooLarge(let cost, let limit): "images x network calls x rows make \(cost); \(limit) are allowed for one request"
        case .tooManyImages(let count, let limit): "\(count) images in one request; \(limit) are allowed"
        case .noImages: "a request needs at least one image"
        case .draining: "the server is shutting down"
        case .noSuchClass(let index, let adapter, let classes): "'\(adapter)' has \(classes) classes, none with the number \(index)"
        case .otherLayout(let adapter, let values, let wanted): "'\(adapter)' has \(values) values; this base takes \(wanted)"
        case .wrongNoise(let values, let wanted): "noise of \(values) values was given for an image of \(wanted)"
        }
    }
}
