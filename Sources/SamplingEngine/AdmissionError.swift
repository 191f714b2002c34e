import AdapterFormat

/// Why a request was not admitted. Nothing of it was done.
package enum AdmissionError: Error, Sendable, Hashable, CustomStringConvertible {
    case queueFull(retryAfterSeconds: Int)
    case clientShareFull(retryAfterSeconds: Int)
    /// No more recipes may wait to be composed, of this client or at all.
    case composingFull(isClients: Bool)
    case tooLarge(cost: Int, limit: Int)
    case tooManyImages(count: Int, limit: Int)
    case noImages
    case draining
    case noNullRow(adapter: String, isBase: Bool)
    case noSuchClass(index: Int, adapter: String, classes: Int)
    case otherLayout(adapter: String, values: Int, wanted: Int)
    case wrongNoise(values: Int, wanted: Int)
    case tooLittleNoise(calls: Int, wanted: Int)
    case otherCache(calls: Int, wanted: Int)
    case noAutoencoder(channels: Int)
    case noDecoder(DecoderKind, has: [DecoderKind])
    case tooManyRows(rows: Int, limit: Int)
    case tooManyAdapters(count: Int, limit: Int)
    case mixedGrids(first: String, second: String)
    case gridOfLatents(adapter: String, size: Int)
    case noNetwork(adapter: String, size: Int, reason: String)

    package var description: String {
        switch self {
        case .queueFull(let seconds): "the queue is full; try again in about \(seconds) s"
        case .clientShareFull(let seconds): "this client's share of the queue is full; try again in about \(seconds) s"
        case .composingFull(let isClients):
            isClients ? "this client has as many recipes waiting to be composed as one may have" : "as many recipes wait to be composed as there is room for"
        case .tooLarge(let cost, let limit): "images x network calls x rows, counted at the base's own size, make \(cost); \(limit) are allowed for one request"
        case .tooManyImages(let count, let limit): "\(count, "image") in one request; \(limit) \(limit == 1 ? "is" : "are") allowed"
        case .noImages: "a request needs at least one image"
        case .draining: "the server is shutting down"
        case .noNullRow(let adapter, let isBase):
            "'\(adapter)' was trained without dropping labels, so it has no class that stands for none, which this leans on: name a class, and ask for guidance none"
                + (isBase ? "" : " or domain")
        case .noSuchClass(let index, let adapter, let classes): "'\(adapter)' has \(classes, "class"), none with the number \(index)"
        case .otherLayout(let adapter, let values, let wanted): "'\(adapter)' has \(values, "value"); this base takes \(wanted)"
        case .wrongNoise(let values, let wanted): "noise of \(values, "value") was given for an image of \(wanted)"
        case .tooLittleNoise(let calls, let wanted): "noise for \(calls) network calls was given; the sampler makes \(wanted)"
        case .otherCache(let calls, let wanted):
            "a cache profile of \(calls, "network call"), for one adapter over all steps, does not fit an image of \(wanted) calls or several adapters"
        case .noAutoencoder(let channels):
            "this base makes latents of \(channels, "channel"), not pictures: give its autoencoder with --vae, or take the latents with --latents"
        case .noDecoder(let decoder, let has): decoder.absence(has)
        case .tooManyRows(let rows, let limit):
            "one image takes \(rows, "row") of a network call; this server has \(limit): add fewer predictions, or guide by domain or not at all"
        case .gridOfLatents(let adapter, let size):
            "'\(adapter)' makes latents of \(size)x\(size); pictures are decoded at the base's own size only: ask for latents"
        case .noNetwork(let adapter, let size, let reason): "'\(adapter)' makes images of \(size)x\(size), which this network cannot be fitted to: \(reason)"
        case .mixedGrids(let first, let second): "'\(first)' and '\(second)' make images of different resolutions; one image has one"
        case .tooManyAdapters(let count, let limit): "one image takes \(count, "vector") over its steps; \(limit) are held at a time"
        }
    }
}

extension DecoderKind {
    /// Why a base that has others cannot decode by this one.
    package func absence(_ has: [DecoderKind]) -> String {
        switch has.first {
        case nil: "this base has no decoder '\(rawValue)': it makes pixels, or has no autoencoder"
        case let other?:
            "this base has no decoder '\(rawValue)', only '\(other.rawValue)': adapterctl base import takes another autoencoder with \(self == .tiny ? "--tiny-vae" : "--vae")"
        }
    }
}
