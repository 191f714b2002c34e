import AdapterFormat
import Diffusion
import Foundation

/// What makes a picture again: the text chunk of its file, the same whichever program made it. Never a path, a host, a user or
/// a time, so that the same request gives the same bytes.
package struct PictureText: Codable, Sendable, Equatable {
    /// The keyword of the chunk.
    package static let key = "difffit"

    package var adapter: String
    package var digest: String
    /// The canonical recipe, or the two ends of a morph with two dots between.
    package var recipe: String
    package var labelsFrom: String?
    package var strength: Double
    package var baseDigest: String
    /// `*` for all classes in turn.
    package var `class`: String
    package var seed: UInt64
    /// Of the first image, where there are several.
    package var index: UInt64
    package var sampler: String
    package var steps: Int
    package var guidance: String
    package var guidanceScale: Float
    package var precision: String
    package var guidanceInterval: [Double]
    package var cache: String
    /// "tiny" where a tiny autoencoder made it; nothing else is said.
    package var decoder: String?
    package var build: String
    /// Images of one file, where it holds several, and frames of a morph.
    package var n: Int?
    package var frames: Int?

    package init(
        _ recipe: BoundRecipe, className: String, labelsFrom: String?, strength: Double, seed: UInt64, index: UInt64, sampler: Sampler, steps: Int,
        guidance: ImageGuidance, cache: CacheLevel, decoder: DecoderKind?, base: Digest, precision: String, build: String = packageVersion
    ) {
        adapter = recipe.label
        digest = recipe.digest.description
        self.recipe = recipe.text
        self.labelsFrom = labelsFrom
        self.strength = strength
        baseDigest = base.description
        `class` = className
        self.seed = seed
        self.index = index
        self.sampler = sampler.rawValue
        self.steps = steps
        self.guidance = guidance.kind.rawValue
        guidanceScale = guidance.scale
        self.precision = precision
        guidanceInterval = [guidance.interval.lowerBound, guidance.interval.upperBound]
        self.cache = cache.rawValue
        self.decoder = decoder == .tiny ? decoder?.rawValue : nil
        self.build = build
    }

    /// Reads the text of a file.
    /// - Returns: nil where it is no such text.
    package init?(json: String) {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        guard let text = try? decoder.decode(Self.self, from: Data(json.utf8)) else { return nil }
        self = text
    }

    /// One line: snake case, sorted keys.
    package var json: String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Plain values of finite numbers and text: nothing in it can fail to encode.
        return String(decoding: (try? encoder.encode(self)) ?? Data("{}".utf8), as: UTF8.self)
    }
}
