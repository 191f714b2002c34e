import Foundation
import ImageFiles
import Diffusion
import SamplingEngine

/// `sample --socket`: the same pictures, made by a running server.
extension Sample {
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
        var request = try generationRequest(recipe)
        Progress.begin("sampling")
        return try await withThrowingTaskGroup(of: (Int, Generated).self) { group in
            var made: [Generated?] = Array(repeating: nil, count: n)
            for index in 0..<n {
                if index >= 32, let (done, generated) = try await group.next() {
                    made[done] = generated
                    Progress.step(made.count { $0 != nil }, of: n)
                }
                (request.className, request.indexOffset) = (classes[index % classes.count], UInt64(index))
                let data = try JSONEncoder().encode(request)
                group.addTask { (index, try await server.ask(.POST, "/v1/images/generations", body: data)) }
            }
            while let (done, generated) = try await group.next() {
                made[done] = generated
                Progress.step(made.count { $0 != nil }, of: n)
            }
            return made.compactMap { $0 }
        }
    }

    /// What the options ask for, but for class and index of the one image.
    private func generationRequest(_ recipe: String) throws -> GenerationRequest {
        let asked = try sampling.guidance.asked()
        var request = GenerationRequest()
        (request.model, request.strength, request.labelsFrom, request.cache, request.n) = (recipe, strength, labelsFrom, sampling.cache, 1)
        (request.seed, request.steps, request.sampler) = (sampling.seed, sampling.steps, sampling.sampler)
        request.decoder = autoencoder.decoder
        // What was not asked for is the recipe's to demand, or the usual on either side.
        (request.guidance, request.guidanceScale) = (asked.kind?.rawValue, asked.scale)
        request.guidanceInterval = asked.interval.map { [$0.lowerBound, $0.upperBound] }
        return request
    }
}
