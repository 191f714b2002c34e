import TensorMath

/// The engine's sizes, and who watches it.
package struct EngineOptions: Sendable {
    /// Rows of one network call; a guided image takes two.
    package var rows = 32
    /// Adapter slots: adapters in memory at once.
    package var domains = 16
    /// The arithmetic of the network; f32 runs instead where this machine does not have it.
    package var precision = Precision.f32
    /// Images that may wait.
    package var queueImages = 256
    /// Images of one client that may wait.
    package var clientShare = 128
    /// Largest sum of network rows over all images and calls of one request.
    package var largestCost = 64 * 2 * 250
    /// Bytes of what is held for images of other sizes than the base's own; the longest unused goes first, what runs stays.
    package var networkBytes = 1 << 30
    /// Called on the engine's own thread, so short work only: after each network call, and after each swap.
    package var onStep: (@Sendable (StepFacts) -> Void)?
    package var onSwap: (@Sendable (Duration) -> Void)?

    package init() {}

    /// No queue to speak of: one process samples for itself.
    package static var unbounded: EngineOptions { unbounded(at: .f32) }

    package static func unbounded(at precision: Precision) -> EngineOptions {
        var options = EngineOptions()
        options.precision = precision
        (options.queueImages, options.clientShare, options.largestCost, options.networkBytes) = (.max, .max, .max, .max)
        return options
    }
}

/// One network call.
package struct StepFacts: Sendable {
    package let duration: Duration
    package let rows, images, adapters: Int
    /// Images that gave way to others before it.
    package let setAside: Int
}

/// The engine as its own thread sees it now.
package struct EngineStatus: Sendable, Hashable {
    package var queuedImages, queueCapacity: Int
    package var activeImages, activeRows, rowCapacity: Int
    /// Begun images that others run before; they wait, and are counted among the queued.
    package var setAsideImages: Int
    /// How often an image has given way to others.
    package var setAsides: UInt64
    package var distinctAdapters: Int
    package var stepsDone: UInt64
    package var lastStepSeconds: Double
    package var slotBytes: Int
    /// Sizes of images, beside the base's own, that a network is held for, and its bytes.
    package var otherSizes, networkBytes: Int
    package var draining: Bool
}
