import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// A value as JSON: snake case, sorted keys.
func json(_ value: some Encodable) -> ByteBuffer {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // Replies are plain values of finite numbers and text; nothing in them can fail to encode.
    let data = (try? encoder.encode(value)) ?? Data("{}".utf8)
    return ByteBuffer(bytes: data)
}

extension Response {
    init(json value: some Encodable, status: HTTPResponse.Status = .ok) {
        var line = json(value)
        line.writeString("\n")
        self.init(
            status: status, headers: [.contentType: "application/json; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: line))
    }

    init(text: String, type: String, status: HTTPResponse.Status = .ok) {
        self.init(status: status, headers: [.contentType: type], body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}
