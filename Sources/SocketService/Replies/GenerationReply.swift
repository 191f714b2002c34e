import Foundation
import SamplingEngine

/// The answer to a generation: OpenAI's shape, and one block of our own.
struct GenerationReply: Encodable, Sendable {
    struct Item: Encodable, Sendable {
        let b64Json: String
        let index: UInt64
        let seed: UInt64
        let `class`: String
        let sha256: String

        init(_ picture: Picture) {
            b64Json = picture.png.base64EncodedString()
            index = picture.index
            seed = picture.seed
            `class` = picture.className
            sha256 = picture.sha256
        }
    }

    let created: Int
    let data: [Item]
    let size: String
    var outputFormat = "png"
    let xDifffit: Usage

    init(_ pictures: [Picture], size: String, usage: Usage, created: Int) {
        self.created = created
        data = pictures.map(Item.init)
        self.size = size
        xDifffit = usage
    }
}

/// Which weights ran, and where the time went.
struct Usage: Encodable, Sendable {
    struct Part: Encodable, Sendable {
        let name: String
        let digest: String
        let weight: Double
        /// Where it has that weight, if not everywhere: first and last block, and the fraction of the steps from which on.
        let blocks: [Int]?
        let from: Double?

        init(_ share: BoundRecipe.Share) {
            name = share.name
            digest = share.digest.description
            weight = share.weight
            blocks = share.blocks.map { [$0.lowerBound, $0.upperBound] }
            from = share.start > 0 ? share.start : nil
        }
    }

    let adapters: [Part]
    /// The canonical recipe: sent as `model`, with the same strength and labels, it makes the same again.
    let recipe: String
    let labelsFrom: String?
    let strength: Double
    let effectiveDigest: String
    let baseDigest: String
    let build: String
    let cache: String
    /// What made the pictures of latents.
    let decoder: String?
    let composeMs: Double
    let queueMs: Double
    let swapUs: Double
    let sampleMs: Double
    let decodeMs: Double
    let steps: Int
    let batchRows: Int

    init(_ order: GenerationOrder, _ times: RequestTimes, _ origin: Origin) {
        adapters = order.recipe.shares.map(Part.init)
        recipe = order.recipe.text
        labelsFrom = order.labelsFrom
        strength = order.strength
        effectiveDigest = order.recipe.digest.description
        baseDigest = origin.baseDigest.description
        build = origin.build
        cache = order.cache.rawValue
        decoder = order.decoder?.rawValue
        composeMs = order.recipe.compose.milliseconds
        queueMs = times.queue.milliseconds
        swapUs = times.swap.milliseconds * 1000
        sampleMs = times.sample.milliseconds
        decodeMs = times.decode.milliseconds
        steps = order.sampling.steps
        batchRows = times.batchRows
    }
}

extension Duration {
    /// Rounded to a microsecond's fraction that a reader can use.
    var milliseconds: Double { (self / .microseconds(1)).rounded() / 1000 }
}
