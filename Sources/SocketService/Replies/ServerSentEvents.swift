import Foundation
import NIOCore

/// One server-sent event: a name and one line of JSON.
func serverSentEvent(_ name: String, _ value: some Encodable) -> ByteBuffer {
    var buffer = ByteBuffer(string: "event: \(name)\ndata: ")
    buffer.writeImmutableBuffer(json(value))
    buffer.writeString("\n\n")
    return buffer
}

/// A comment line: keeps the connection awake and tells the client nothing.
let pingComment = ByteBuffer(string: ": ping\n\n")

/// Events of a streamed generation, in OpenAI's words where it has them.
enum StreamedEvent {
    struct Progress: Encodable {
        var type = "image_generation.progress"
        let step: Int
        let steps: Int
        let etaMs: Double?
    }

    struct Queued: Encodable {
        var type = "image_generation.queued"
        let queuePosition: Int
    }

    struct Partial: Encodable {
        var type = "image_generation.partial_image"
        let b64Json: String
        let partialImageIndex: Int
        let index: UInt64
        let createdAt: Int
        let size: String
        var outputFormat = "png"
    }

    struct Completed: Encodable {
        var type = "image_generation.completed"
        let b64Json: String
        let index: UInt64
        let seed: UInt64
        let `class`: String
        let sha256: String
        let createdAt: Int
        let size: String
        var outputFormat = "png"

        init(_ picture: Picture, size: String, createdAt: Int) {
            let item = GenerationReply.Item(picture)
            (b64Json, index, seed, `class`, sha256) = (item.b64Json, item.index, item.seed, item.class, item.sha256)
            (self.size, self.createdAt) = (size, createdAt)
        }
    }

    /// The last event: which weights ran, and where the time went.
    struct Summary: Encodable {
        var type = "image_generation.summary"
        let createdAt: Int
        let xDifffit: Usage
    }
}
