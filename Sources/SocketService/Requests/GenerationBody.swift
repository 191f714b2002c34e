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
            name = try values.decode(String.self, forKey: .name)
            weight = try values.decodeIfPresent(Double.self, forKey: .weight)
        }
    }

    package var model: String?
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

    enum Field: String, CodingKey, CaseIterable {
        case model, prompt, n, size, stream, user, seed, steps, sampler, guidance, adapters, metadata
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
        model = try values.decodeIfPresent(String.self, forKey: .model)
        prompt = try values.decodeIfPresent(String.self, forKey: .prompt)
        className = try values.decodeIfPresent(String.self, forKey: .className)
        n = try values.decodeIfPresent(Int.self, forKey: .n)
        size = try values.decodeIfPresent(String.self, forKey: .size)
        responseFormat = try values.decodeIfPresent(String.self, forKey: .responseFormat)
        outputFormat = try values.decodeIfPresent(String.self, forKey: .outputFormat)
        stream = try values.decodeIfPresent(Bool.self, forKey: .stream)
        partialImages = try values.decodeIfPresent(Int.self, forKey: .partialImages)
        user = try values.decodeIfPresent(String.self, forKey: .user)
        seed = try values.decodeIfPresent(UInt64.self, forKey: .seed)
        indexOffset = try values.decodeIfPresent(UInt64.self, forKey: .indexOffset)
        steps = try values.decodeIfPresent(Int.self, forKey: .steps)
        sampler = try values.decodeIfPresent(String.self, forKey: .sampler)
        guidanceScale = try values.decodeIfPresent(Float.self, forKey: .guidanceScale)
        guidance = try values.decodeIfPresent(String.self, forKey: .guidance)
        guidanceInterval = try values.decodeIfPresent([Double].self, forKey: .guidanceInterval)
        adapters = try values.decodeIfPresent([WeightedAdapter].self, forKey: .adapters)
        labelsFrom = try values.decodeIfPresent(String.self, forKey: .labelsFrom)
        deadlineMs = try values.decodeIfPresent(Int.self, forKey: .deadlineMs)
        metadata = try values.decodeIfPresent(Bool.self, forKey: .metadata)
    }

    /// Reads a body: depth first, then types, then names; nothing is skipped silently.
    package init(_ bytes: [UInt8], limits: RequestLimits) throws(ServiceError) {
        guard bytes.count <= limits.bodyBytes else { throw .bodyTooLarge(limit: limits.bodyBytes) }
        guard jsonDepth(bytes, limit: limits.jsonDepth) <= limits.jsonDepth else { throw .tooDeep(limit: limits.jsonDepth) }
        do {
            self = try JSONDecoder().decode(Self.self, from: Data(bytes))
        } catch let error as ServiceError {
            throw error
        } catch let error as DecodingError {
            throw ServiceError(error)
        } catch {
            throw .notJSON(reason: "it cannot be read")
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

extension ServiceError {
    /// The decoder's complaint, in terms of the field.
    fileprivate init(_ error: DecodingError) {
        switch error {
        case .typeMismatch(let type, let context):
            self = Self.field(context, "it is not \(Self.word(for: type))")
        case .valueNotFound(let type, let context): self = Self.field(context, "it is null instead of \(Self.word(for: type))")
        case .keyNotFound(let key, let context): self = Self.field(context, "its '\(key.stringValue)' is missing")
        case .dataCorrupted(let context): self = Self.field(context, "its number is out of range or malformed")
        @unknown default: self = .notJSON(reason: "it cannot be read")
        }
    }

    private static func field(_ context: DecodingError.Context, _ reason: String) -> ServiceError {
        guard let field = context.codingPath.first?.stringValue else { return .notJSON(reason: "it is malformed or not an object") }
        return .badField(name: field, reason: reason)
    }

    private static func word(for type: any Any.Type) -> String {
        switch type {
        case is String.Type: "a text"
        case is Bool.Type: "true or false"
        case is Int.Type: "a whole number"
        case is UInt64.Type: "a whole number of 0 or more"
        case is Float.Type, is Double.Type: "a number"
        default: "of the right shape"
        }
    }
}
