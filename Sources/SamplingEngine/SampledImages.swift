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
