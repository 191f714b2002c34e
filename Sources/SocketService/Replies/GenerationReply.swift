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
    let xDifffit: Account

    init(_ pictures: [Picture], size: String, account: Account, created: Int) {
        self.created = created
        data = pictures.map(Item.init)
        self.size = size
        xDifffit = account
    }
}

/// Which weights ran, and where the time went.
struct Account: Encodable, Sendable {
    struct Part: Encodable, Sendable {
        let name: String
        let digest: String
        let weight: Double
    }

    let adapters: [Part]
    let effectiveDigest: String
    let baseDigest: String
    let build: String
    let queueMs: Double
    let swapUs: Double
    let sampleMs: Double
    let decodeMs: Double
    let steps: Int
    let batchRows: Int

    init(_ order: GenerationOrder, _ times: RequestTimes, _ origin: Origin) {
        let digest = order.adapter.digest.description
        adapters = [Part(name: order.adapter.name, digest: digest, weight: 1)]
        effectiveDigest = digest
        baseDigest = origin.baseDigest.description
        build = origin.build
        queueMs = times.queue.milliseconds
        swapUs = times.swap.milliseconds * 1000
        sampleMs = times.sample.milliseconds
        decodeMs = times.decode.milliseconds
        steps = order.steps
        batchRows = times.batchRows
    }
}

extension Duration {
    /// Rounded to a microsecond's fraction that a reader can use.
    var milliseconds: Double { (self / .microseconds(1)).rounded() / 1000 }
}
