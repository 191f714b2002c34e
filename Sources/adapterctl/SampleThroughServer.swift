import Foundation
import ImageFiles

/// `sample --socket`: the same pictures, made by a running server.
extension Sample {
    private struct Body: Encodable {
        let model, `class`, sampler: String?
        let n = 1
        let seed, indexOffset: UInt64
        let steps: Int
        let guidanceScale: Float
        let metadata = false
    }

    private struct Generated: Decodable {
        struct Item: Decodable { let b64Json: String }
        struct Account: Decodable { let effectiveDigest: String }
        let data: [Item]
        let xDifffit: Account
    }

    private struct Listed: Decodable { let classes: [String] }
    private struct Models: Decodable {
        struct Model: Decodable {
            let id: String
            let classes: [String]
        }
        let data: [Model]
    }
    private struct Capabilities: Decodable {
        struct Defaults: Decodable { let sampler: String }
        let defaults: Defaults
    }

    func run(through server: ServerSocket) async throws {
        guard noise == nil, trajectory == nil, base == nil else {
            throw Failure.usage("--noise, --trajectory and --base are for sampling in this process, without --socket")
        }
        let capabilities: Capabilities = try await server.ask(.GET, "/v1/capabilities")
        let classes = try await classes(server)
        let start = ContinuousClock.now
        let made = try await generate(server, classes)
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let pictures = try made.map { try RGBImage(Data(base64Encoded: $0.data.first?.b64Json ?? "") ?? Data(), named: "the server's reply") }
        let digest = made.first?.xDifffit.effectiveDigest ?? ""
        if let file { try write(pictures, digest: digest, sampler: sampling.sampler ?? capabilities.defaults.sampler, to: file) }
        try report([file].compactMap { $0 }, digest: digest, seconds: seconds)
    }

    /// As the server takes them: a name, or `class:` and a number.
    private func classes(_ server: ServerSocket) async throws -> [String] {
        if let className { return [Int(className).map { "class:\($0)" } ?? className] }
        if reference == "base" {
            let models: Models = try await server.ask(.GET, "/v1/models")
            return (0..<max(models.data.first { $0.id == "base" }?.classes.count ?? 0, 1)).map { "class:\($0)" }
        }
        let reference = reference.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? reference
        let adapter: Listed = try await server.ask(.GET, "/v1/adapters/\(reference)")
        return (0..<max(adapter.classes.count, 1)).map { "class:\($0)" }
    }

    /// One request an image, so that images of different classes share a batch; a few at a time, as the queue is not ours alone.
    private func generate(_ server: ServerSocket, _ classes: [String]) async throws -> [Generated] {
        try await withThrowingTaskGroup(of: (Int, Generated).self) { group in
            var made: [Generated?] = Array(repeating: nil, count: n)
            for index in 0..<n {
                if index >= 32, let (done, generated) = try await group.next() { made[done] = generated }
                let body = Body(
                    model: reference, class: classes[index % classes.count], sampler: sampling.sampler, seed: sampling.seed,
                    indexOffset: UInt64(index), steps: sampling.stepCount, guidanceScale: sampling.guidanceScale)
                let data = try Self.encoder.encode(body)
                group.addTask { (index, try await server.ask(.POST, "/v1/images/generations", body: data)) }
            }
            while let (done, generated) = try await group.next() { made[done] = generated }
            return made.compactMap { $0 }
        }
    }

    private static var encoder: JSONEncoder {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return encoder
    }
}
