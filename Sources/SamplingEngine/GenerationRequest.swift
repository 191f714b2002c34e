import AdapterFormat

/// What a client asks a server for, in the shape of OpenAI's images: the body of `POST /v1/images/generations` and `POST /v1/jobs`, which
/// the service decodes and `adapterctl sample --socket` encodes. Types are checked, meaning is not yet. A test holds the page, the Python
/// client with its batch tool and the README to `Field`.
///
/// Sampling in the process of `adapterctl` itself does without: its options are refused in words of their own, before there is a request,
/// and a morph, given noise or a trajectory is nothing that a request can ask for.
package struct GenerationRequest: Codable, Sendable, Equatable {
    package struct WeightedAdapter: Codable, Sendable, Equatable {
        package var name: String
        package var weight: Double?

        enum Field: String, CodingKey, CaseIterable { case name, weight }
        private typealias CodingKeys = Field

        package init(from decoder: any Decoder) throws {
            let values = try decoder.known(Field.self)
            guard let name: String = try values.value(.name) else { throw FormError.badField(name: "adapters", reason: "each needs a 'name'") }
            self.name = name
            weight = try values.value(.weight)
        }
    }

    /// One pair of the list form of a schedule: the fraction of the steps, and the recipe that it runs.
    package struct ScheduledRecipe: Codable, Sendable, Equatable {
        package var share: Double
        package var recipe: String

        package init(from decoder: any Decoder) throws {
            var pair = try decoder.unkeyedContainer()
            share = try pair.decode(Double.self)
            recipe = try pair.decode(String.self)
            guard pair.isAtEnd else { throw FormError.badField(name: "schedule", reason: "each entry is a fraction of the steps and a recipe") }
        }

        package func encode(to encoder: any Encoder) throws {
            var pair = encoder.unkeyedContainer()
            try pair.encode(share)
            try pair.encode(recipe)
        }
    }

    /// JSON that is no such request, in the words of a reply.
    package enum FormError: Error, Sendable, Equatable {
        case unknownField(name: String, nearest: [String])
        case badField(name: String, reason: String)
    }

    package var model: String?
    package var schedule: [ScheduledRecipe]?
    package var cache: String?
    package var decoder: String?
    package var strength: Double?
    package var prompt, className: String?
    package var n: Int?
    package var size, responseFormat, outputFormat: String?
    package var stream: Bool?
    package var partialImages: Int?
    package var user: String?
    package var seed, indexOffset: UInt64?
    package var steps: Int?
    package var sampler: String?
    package var guidanceScale: Float?
    package var guidance: String?
    package var guidanceInterval: [Double]?
    package var adapters: [WeightedAdapter]?
    package var labelsFrom: String?
    package var deadlineMs: Int?
    package var metadata: Bool?
    package var quality, background, moderation, style: String?
    package var outputCompression: Int?

    package enum Field: String, CodingKey, CaseIterable {
        case model, schedule, strength, cache, decoder, prompt, n, size, stream, user, seed, steps, sampler, guidance, adapters, metadata
        case quality, background, moderation, style
        case outputCompression = "output_compression"
        case className = "class"
        case responseFormat = "response_format"
        case outputFormat = "output_format"
        case partialImages = "partial_images"
        case indexOffset = "index_offset"
        case guidanceScale = "guidance_scale"
        case guidanceInterval = "guidance_interval"
        case labelsFrom = "labels_from"
        case deadlineMs = "deadline_ms"
    }
    private typealias CodingKeys = Field

    package init() {}

    /// - Throws: `FormError`, of the first field that is wrong in the order of the properties; an unknown one goes before.
    package init(from decoder: any Decoder) throws {
        let values = try decoder.known(Field.self)
        (model, schedule, cache, strength) = try (values.value(.model), values.value(.schedule), values.value(.cache), values.value(.strength))
        self.decoder = try values.value(.decoder)
        (prompt, className, n, size) = try (values.value(.prompt), values.value(.className), values.value(.n), values.value(.size))
        (responseFormat, outputFormat) = try (values.value(.responseFormat), values.value(.outputFormat))
        (stream, partialImages, user) = try (values.value(.stream), values.value(.partialImages), values.value(.user))
        (seed, indexOffset, steps, sampler) = try (values.value(.seed), values.value(.indexOffset), values.value(.steps), values.value(.sampler))
        (guidanceScale, guidance) = try (values.value(.guidanceScale), values.value(.guidance))
        (guidanceInterval, adapters) = try (values.value(.guidanceInterval), values.value(.adapters))
        (labelsFrom, deadlineMs, metadata) = try (values.value(.labelsFrom), values.value(.deadlineMs), values.value(.metadata))
        (quality, background) = try (values.value(.quality), values.value(.background))
        (moderation, style, outputCompression) = try (values.value(.moderation), values.value(.style), values.value(.outputCompression))
    }
}

extension Decoder {
    /// The object's values by field, after every key was compared with the fields there are.
    fileprivate func known<Field: CodingKey & CaseIterable & RawRepresentable<String>>(
        _: Field.Type
    ) throws -> KeyedDecodingContainer<Field> {
        let names = Field.allCases.map(\.rawValue)
        for key in try container(keyedBy: AnyKey.self).allKeys.map(\.stringValue).sorted() where !names.contains(key) {
            throw GenerationRequest.FormError.unknownField(name: String(key.prefix(64)), nearest: nearestNames(to: key, among: names))
        }
        return try container(keyedBy: Field.self)
    }
}

private struct AnyKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}

extension KeyedDecodingContainer {
    /// The field's value, nil where it is missing or null; a value of another type is named with its field.
    fileprivate func value<Value: Decodable>(_ field: Key) throws -> Value? {
        do {
            return try decodeIfPresent(Value.self, forKey: field)
        } catch let error as GenerationRequest.FormError {
            throw error
        } catch {
            // A number out of range is no DecodingError until the decoder's own surface.
            throw GenerationRequest.FormError.badField(name: field.stringValue, reason: "it is not \(word(for: Value.self))")
        }
    }
}

private func word(for type: any Any.Type) -> String {
    switch type {
    case is String.Type: "a text"
    case is Bool.Type: "true or false"
    case is Int.Type: "a whole number of at most 64 bits"
    case is UInt64.Type: "a whole number from 0 to \(UInt64.max)"
    case is Float.Type, is Double.Type: "a number in range"
    default: "of the right shape"
    }
}
