import AdapterFormat
import Foundation

/// The body of `POST /v1/images/generations` and `POST /v1/jobs`, as sent: types checked, meaning not yet.
package struct GenerationBody: Decodable, Sendable, Equatable {
    package struct WeightedAdapter: Decodable, Sendable, Equatable {
        package var name: String
        package var weight: Double?

        enum Field: String, CodingKey, CaseIterable { case name, weight }

        package init(from decoder: any Decoder) throws {
            let values = try decoder.known(Field.self)
            guard let name = try values.value(String.self, .name) else {
                throw ServiceError.badField(name: "adapters", reason: "each needs a 'name'")
            }
            self.name = name
            weight = try values.value(Double.self, .weight)
        }
    }

    /// One pair of the list form of a schedule: the fraction of the steps, and the recipe that it runs.
    package struct ScheduledRecipe: Decodable, Sendable, Equatable {
        package var share: Double
        package var recipe: String

        package init(from decoder: any Decoder) throws {
            var pair = try decoder.unkeyedContainer()
            share = try pair.decode(Double.self)
            recipe = try pair.decode(String.self)
            guard pair.isAtEnd else { throw ServiceError.badField(name: "schedule", reason: "each entry is a fraction of the steps and a recipe") }
        }
    }

    package var model: String?
    package var schedule: [ScheduledRecipe]?
    package var strength: Double?
    package var cache: String?
    package var prompt: String?
    package var className: String?
    package var n: Int?
    package var size: String?
    package var responseFormat: String?
    package var outputFormat: String?
    package var stream: Bool?
    package var partialImages: Int?
    package var user: String?
    package var seed: UInt64?
    package var indexOffset: UInt64?
    package var steps: Int?
    package var sampler: String?
    package var guidanceScale: Float?
    package var guidance: String?
    package var guidanceInterval: [Double]?
    package var adapters: [WeightedAdapter]?
    package var labelsFrom: String?
    package var deadlineMs: Int?
    package var metadata: Bool?
    package var quality: String?
    package var background: String?
    package var moderation: String?
    package var style: String?
    package var outputCompression: Int?

    package enum Field: String, CodingKey, CaseIterable {
        case model, schedule, strength, cache, prompt, n, size, stream, user, seed, steps, sampler, guidance, adapters, metadata
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

    package init(from decoder: any Decoder) throws {
        let values = try decoder.known(Field.self)
        model = try values.value(String.self, .model)
        schedule = try values.value([ScheduledRecipe].self, .schedule)
        cache = try values.value(String.self, .cache)
        strength = try values.value(Double.self, .strength)
        prompt = try values.value(String.self, .prompt)
        className = try values.value(String.self, .className)
        n = try values.value(Int.self, .n)
        size = try values.value(String.self, .size)
        responseFormat = try values.value(String.self, .responseFormat)
        outputFormat = try values.value(String.self, .outputFormat)
        stream = try values.value(Bool.self, .stream)
        partialImages = try values.value(Int.self, .partialImages)
        user = try values.value(String.self, .user)
        seed = try values.value(UInt64.self, .seed)
        indexOffset = try values.value(UInt64.self, .indexOffset)
        steps = try values.value(Int.self, .steps)
        sampler = try values.value(String.self, .sampler)
        guidanceScale = try values.value(Float.self, .guidanceScale)
        guidance = try values.value(String.self, .guidance)
        guidanceInterval = try values.value([Double].self, .guidanceInterval)
        adapters = try values.value([WeightedAdapter].self, .adapters)
        labelsFrom = try values.value(String.self, .labelsFrom)
        deadlineMs = try values.value(Int.self, .deadlineMs)
        metadata = try values.value(Bool.self, .metadata)
        quality = try values.value(String.self, .quality)
        background = try values.value(String.self, .background)
        moderation = try values.value(String.self, .moderation)
        style = try values.value(String.self, .style)
        outputCompression = try values.value(Int.self, .outputCompression)
    }

    /// Reads a body: its form first, then types, then names; nothing is skipped silently.
    package init(_ bytes: [UInt8], limits: RequestLimits) throws(ServiceError) {
        guard bytes.count <= limits.bodyBytes else { throw .bodyTooLarge(limit: limits.bodyBytes) }
        do {
            try StrictJSON.check(bytes, limit: limits.jsonDepth)
        } catch {
            switch error {
            case .tooDeep: throw .tooDeep(limit: limits.jsonDepth)
            case .wrong(let reason): throw .notJSON(reason: reason)
            }
        }
        do {
            self = try JSONDecoder().decode(Self.self, from: Data(bytes.starts(with: [0xef, 0xbb, 0xbf]) ? bytes.dropFirst(3) : bytes[...]))
        } catch let error as ServiceError {
            throw error
        } catch {
            throw .notJSON(reason: "it is a value of another kind")
        }
    }
}

extension Decoder {
    /// The object's values by field, after every key was compared with the fields there are.
    fileprivate func known<Field: CodingKey & CaseIterable & RawRepresentable<String>>(
        _: Field.Type
    ) throws -> KeyedDecodingContainer<Field> {
        let names = Field.allCases.map(\.rawValue)
        for key in try container(keyedBy: AnyKey.self).allKeys.map(\.stringValue).sorted() where !names.contains(key) {
            throw ServiceError.unknownField(name: String(key.prefix(64)), nearest: nearestNames(to: key, among: names))
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
    fileprivate func value<Value: Decodable>(_ type: Value.Type, _ field: Key) throws -> Value? {
        do {
            return try decodeIfPresent(type, forKey: field)
        } catch let error as ServiceError {
            throw error
        } catch {
            // A number out of range is no DecodingError until the decoder's own surface.
            throw ServiceError.badField(name: field.stringValue, reason: "it is not \(word(for: type))")
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
