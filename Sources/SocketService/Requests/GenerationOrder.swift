import AdapterFormat
import Diffusion
import SamplingEngine

/// A request whose every field is settled and whose adapter is bound: from here on nothing about it can change (law 3).
package struct GenerationOrder: Sendable {
    package let adapter: BoundAdapter
    package let className: String
    package let classIndex: Int
    package let count: Int
    package let seed: UInt64
    package let indexOffset: UInt64
    package let sampler: Sampler
    package let steps: Int
    package let guidance: GuidanceKind
    package let guidanceScale: Float
    package let partialImages: Int
    package let deadlineMs: Int?
    package let user: String?
    package let isStreamed: Bool
    package let hasMetadata: Bool

    /// Settles a body against what the server offers.
    /// - Parameters:
    ///   - seed: taken where the body has none.
    ///   - bind: the catalogue's: throws where there is no such adapter.
    package init(
        _ body: GenerationBody, offer: Offer, seed: @autoclosure () -> UInt64, bind: (String) throws(ServiceError) -> BoundAdapter
    ) throws(ServiceError) {
        try body.refuseWhatIsNotOffered(offer)
        let limits = offer.limits
        count = try within(1...limits.images, body.n ?? 1, "n")
        steps = try within(1...limits.steps, body.steps ?? offer.steps, "steps")
        partialImages = try within(0...limits.partialImages, body.partialImages ?? 0, "partial_images")
        guidanceScale = try within(0...limits.guidanceScale, body.guidanceScale ?? offer.guidanceScale, "guidance_scale")
        deadlineMs = try body.deadlineMs.map { milliseconds throws(ServiceError) in
            try within(1...limits.deadlineMs, milliseconds, "deadline_ms")
        }
        indexOffset = try within(0...(UInt64.max >> 1), body.indexOffset ?? 0, "index_offset")
        self.seed = body.seed ?? seed()
        sampler = try body.chosenSampler(offer)
        guidance = try body.chosenGuidance()
        user = try body.user.map { user throws(ServiceError) in try short(user, "user", limits) }
        isStreamed = body.stream ?? false
        hasMetadata = body.metadata ?? true
        adapter = try bind(short(body.reference(), "model", limits))
        classIndex = try body.chosenClass(of: adapter, limits)
        className = adapter.classes.names[classIndex]
    }
}

extension GenerationBody {
    /// The one adapter that is meant. Several with weights come with recipes.
    func reference() throws(ServiceError) -> String {
        guard let adapters else {
            guard let model, !model.isEmpty else {
                throw .missingField(name: "model", wanted: "give an adapter's name, its digest, name@digest, or base")
            }
            guard !model.contains(where: { "*+".contains($0) }) else {
                throw .notOffered(field: "model", what: "recipes of several adapters")
            }
            return model
        }
        guard model == nil else { throw .badField(name: "adapters", reason: "the request also has 'model'; give one of them") }
        guard adapters.count <= 1 else { throw .notOffered(field: "adapters", what: "several adapters for one image") }
        // An empty list always means the base alone.
        guard let only = adapters.first else { return "base" }
        guard (only.weight ?? 1) == 1 else { throw .notOffered(field: "adapters", what: "a weight other than 1") }
        return only.name
    }

    func refuseWhatIsNotOffered(_ offer: Offer) throws(ServiceError) {
        if let size, size != "auto", size != offer.size {
            throw .badField(name: "size", reason: "this base makes pictures of \(offer.size); give that or auto")
        }
        if let responseFormat, responseFormat != "b64_json" {
            throw .badField(
                name: "response_format",
                reason: "pictures come in the reply itself, as b64_json; this server keeps no files and has no URLs")
        }
        if let outputFormat, outputFormat != "png" { throw .badField(name: "output_format", reason: "pictures are png") }
        if guidanceInterval != nil { throw .notOffered(field: "guidance_interval", what: "guidance over a part of the steps") }
        if labelsFrom != nil { throw .notOffered(field: "labels_from", what: "class names of another adapter, which recipes need") }
    }

    func chosenSampler(_ offer: Offer) throws(ServiceError) -> Sampler {
        guard let sampler else { return offer.sampler }
        guard let known = Sampler(rawValue: sampler), offer.samplers.contains(known) else {
            throw .badField(name: "sampler", reason: "this base works with \(offer.samplers.map(\.rawValue).joined(separator: ", "))")
        }
        return known
    }

    func chosenGuidance() throws(ServiceError) -> GuidanceKind {
        switch guidance {
        case nil, "cfg": return .cfg
        case "none": return .none
        case "domain": throw .notOffered(field: "guidance", what: "guidance by domain; cfg and none work")
        default: throw .badField(name: "guidance", reason: "it is one of cfg, none")
        }
    }

    /// The class by its name, or by its number as `class:3`.
    func chosenClass(of adapter: BoundAdapter, _ limits: RequestLimits) throws(ServiceError) -> Int {
        let field = className == nil ? "prompt" : "class"
        if let className, let prompt, !prompt.isEmpty, prompt != className {
            throw .badField(name: "prompt", reason: "it names another class than 'class' does; give one of them")
        }
        guard let name = className ?? prompt, !name.isEmpty else {
            throw .missingField(
                name: "class", wanted: "give a class in 'class' or 'prompt', such as \(adapter.classes.names.first ?? "class:0")")
        }
        let text = try short(name, field, limits)
        if let index = adapter.classes.index(of: text) { return index }
        if text.hasPrefix("class:"), let index = Int(text.dropFirst("class:".count)), adapter.classes.names.indices.contains(index) {
            return index
        }
        let names = adapter.classes.names
        throw .unknownClass(
            name: String(text.prefix(64)), adapter: adapter.name, nearest: nearestNames(to: text, among: names),
            some: names.count > 12 ? names.prefix(12) + ["others"] : names)
    }
}

private func within<Value: Comparable>(_ range: ClosedRange<Value>, _ value: Value, _ field: String) throws(ServiceError) -> Value {
    guard range.contains(value) else {
        throw .badField(name: field, reason: "it is between \(range.lowerBound) and \(range.upperBound)")
    }
    return value
}

private func short(_ text: String, _ field: String, _ limits: RequestLimits) throws(ServiceError) -> String {
    guard text.utf8.count <= limits.textBytes else { throw .badField(name: field, reason: "it is longer than \(limits.textBytes) bytes") }
    return text
}
