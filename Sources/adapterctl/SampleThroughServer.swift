import Foundation
import ImageFiles
import SamplingEngine

/// `sample --socket`: the same pictures, made by a running server.
extension Sample {
    private struct Body: Encodable {
        let model, `class`, sampler: String?
        let n = 1
        let seed, indexOffset: UInt64
        let steps: Int
        let strength: Double
        let cache: String
        let guidance: String
        let guidanceScale: Float
        let guidanceInterval: [Double]
        let labelsFrom: String?
    }

    private struct Generated: Decodable {
        struct Item: Decodable { let b64Json: String }
        struct Usage: Decodable { let effectiveDigest: String }
        let data: [Item]
        let xDifffit: Usage
    }

    private struct Listed: Decodable {
        let recipe: String
        let classes: [String]
    }

    func run(through server: ServerSocket) async throws {
        guard noise == nil, trajectory == nil, latents == nil, base == nil, morph == nil, !precision.isGiven, !autoencoder.isGiven, location.folder == nil
        else {
            throw Failure.usage(
                "--noise, --trajectory, --latents, --base, --morph, --precision, --preset, --vae and --store are for sampling in this process, without --socket"
            )
        }
        _ = try oneRecipe()
        let text = recipe ?? ""
        let listed: Listed = try await server.ask(.GET, "/v1/recipes/\(text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? text)")
        let start = ContinuousClock.now
        let made = try await generate(
            server, text, className.map { [$0] } ?? (listed.classes.isEmpty ? ["null"] : listed.classes.indices.map { "class:\($0)" }))
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let files = made.map { Data(base64Encoded: $0.data.first?.b64Json ?? "") ?? Data() }
        let pictures = try files.map { try RGBImage($0, named: "the server's reply") }
        let digest = made.first?.xDifffit.effectiveDigest ?? ""
        if let file {
            guard var text = files.first.flatMap({ textOfPNG($0, key: PictureText.key) }).flatMap(PictureText.init(json:)) else {
                throw Failure.refused("the server's pictures do not say how they were made: adapterd is of another version", status: 500, code: "no_text")
            }
            if className == nil, n > 1 { text.class = "*" }
            try write(pictures, text, to: file)
        }
        try report(
            Result(
                files: [file].compactMap { $0 }, recipe: listed.recipe, digest: digest, images: n, secondsPerImage: seconds / Double(n),
                decodeSecondsPerImage: nil))
    }

    /// One request an image, so that images of different classes share a batch; a few at a time, as the queue is not ours alone.
    private func generate(_ server: ServerSocket, _ recipe: String, _ classes: [String]) async throws -> [Generated] {
        let guidance = try sampling.imageGuidance()
        Progress.begin("sampling")
        return try await withThrowingTaskGroup(of: (Int, Generated).self) { group in
            var made: [Generated?] = Array(repeating: nil, count: n)
            for index in 0..<n {
                if index >= 32, let (done, generated) = try await group.next() {
                    made[done] = generated
                    Progress.step(made.count { $0 != nil }, of: n)
                }
                let body = Body(
                    model: recipe, class: classes[index % classes.count], sampler: sampling.sampler, seed: sampling.seed,
                    indexOffset: UInt64(index), steps: sampling.stepCount, strength: strength, cache: sampling.cache,
                    guidance: guidance.kind.rawValue,
                    guidanceScale: guidance.scale, guidanceInterval: [guidance.interval.lowerBound, guidance.interval.upperBound],
                    labelsFrom: labelsFrom)
                let data = try Self.encoder.encode(body)
                group.addTask { (index, try await server.ask(.POST, "/v1/images/generations", body: data)) }
            }
            while let (done, generated) = try await group.next() {
                made[done] = generated
                Progress.step(made.count { $0 != nil }, of: n)
            }
            return made.compactMap { $0 }
        }
    }

    private static var encoder: JSONEncoder {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return encoder
    }
}
