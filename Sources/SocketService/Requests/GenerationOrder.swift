import AdapterComposer
import AdapterFormat
import Diffusion
import SamplingEngine

/// A request whose every field is settled and whose adapters are bound: from here on nothing about it can change (law 3).
package struct GenerationOrder: Sendable {
    package let recipe: BoundRecipe
    /// The recipe with the class chosen.
    package let stages: [ImageOrder.Stage]
    /// The class as it was understood.
    package let className: String
    /// The adapter whose class names were taken, where one was named.
    package let labelsFrom: String?
    package let strength: Double
    package let cache: CacheLevel
    /// Which network calls run the blocks; nil runs all.
    package let cacheRuns: [Bool]?
    /// What was asked to make pictures and previews.
    package let askedDecoder: DecoderKind?
    /// What makes the pictures; nil where they are the base's pixels.
    package let decoder: DecoderKind?
    package let count: Int
    package let seed: UInt64
    package let indexOffset: UInt64
    package let sampling: BoundSampling
    package let partialImages: Int
    package let deadlineMs: Int?
    package let user: String?
    package let isStreamed: Bool
    package let hasMetadata: Bool
    /// What composing the recipe was charged, in network rows.
    package let composingCost: Int
    /// Of the pictures: the resolution that the adapters were trained at.
    package let size: String

    /// Settles a request against what the server offers.
    /// - Parameters:
    ///   - seed: taken where the request has none.
    ///   - settle: a recipe at a strength, with the class names of one of its adapters, as the catalogue holds it, and how it is sampled.
    ///   - profile: the network calls that run the blocks at a level of the cache.
    package init(
        _ request: GenerationRequest, capabilities: Capabilities, seed: @autoclosure () -> UInt64, composingCost: Int = 0,
        settle: (Recipe, AskedSampling, Double, String?) throws(ServiceError) -> SettledSampling,
        profile: (CacheLevel, BoundRecipe, BoundSampling) throws(ServiceError) -> [Bool]?
    ) throws(ServiceError) {
        try request.refuseWhatIsNotServed(capabilities)
        self.composingCost = composingCost
        let limits = capabilities.limits
        count = try within(1...limits.images, request.n ?? 1, "n")
        _ = try within(1...limits.steps, request.steps ?? min(capabilities.steps, limits.steps), "steps")
        partialImages = try within(0...limits.partialImages, request.partialImages ?? 0, "partial_images")
        strength = try within(-limits.strength...limits.strength, request.strength ?? 1, "strength")
        deadlineMs = try request.deadlineMs.map { milliseconds throws(ServiceError) in
            try within(1...limits.deadlineMs, milliseconds, "deadline_ms")
        }
        indexOffset = try within(0...(UInt64.max >> 1), request.indexOffset ?? 0, "index_offset")
        self.seed = request.seed ?? seed()
        let asked = try request.askedSampling(capabilities)
        askedDecoder = try request.chosenDecoder(capabilities)
        decoder = askedDecoder ?? .usual(among: capabilities.decoders)
        user = try request.user.flatMap { $0.isEmpty ? nil : $0 }.map { user throws(ServiceError) in try short(user, "user", limits) }
        isStreamed = request.stream ?? false
        hasMetadata = request.metadata ?? true
        labelsFrom = request.labelsFrom
        let settled = try settle(request.recipe(limits), asked, strength, labelsFrom)
        (recipe, sampling) = (settled.recipe, settled.sampling)
        size = try request.chosenSize(recipe.grid.map { "\($0.size)x\($0.size)" } ?? capabilities.size, of: recipe, capabilities)
        guard let cache = request.cache.map(CacheLevel.init(rawValue:)) ?? .exact else {
            throw .badField(name: "cache", reason: "it is one of \(CacheLevel.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        self.cache = cache
        cacheRuns = try profile(cache, recipe, sampling)
        (stages, className) = try request.chosenClass(of: recipe, strength: strength, limits)
    }

    /// As metrics count it: a name of the store, or one word for all recipes.
    var metricsLabel: String { recipe.label == "base" || AdapterName.isValid(recipe.label) ? recipe.label : "recipe" }
}

extension GenerationRequest {
    /// What `model`, `adapters` or `schedule` asks for; one of them.
    func recipe(_ limits: RequestLimits) throws(ServiceError) -> Recipe {
        let given = [("model", model != nil), ("adapters", adapters != nil), ("schedule", schedule != nil)].filter(\.1).map(\.0)
        if given.count > 1 { throw .badField(name: given[1], reason: "the request also has '\(given[0])'; give one of them") }
        do throws(RecipeError) {
            if let adapters {
                // An empty list always means the base alone.
                let terms = adapters.isEmpty ? ["base"] : try adapters.map { adapter throws(RecipeError) in try adapter.term }
                return try Recipe(terms.joined(separator: "+"))
            }
            if let schedule {
                for entry in schedule where entry.recipe.utf8.count > limits.recipeBytes { throw RecipeError(text: "", position: 0, reason: "it is too long") }
                return try Recipe(schedule: schedule.map { Recipe.Scheduled(share: $0.share, recipe: $0.recipe) })
            }
        } catch {
            throw .badField(name: given[0], reason: error.line)
        }
        guard let model, !model.isEmpty else {
            throw .missingField(name: "model", wanted: "give an adapter's name, its digest, name@digest, a recipe such as 0.7*one+0.3*other, or base")
        }
        return try Recipe(model: model, limits: limits)
    }

    func refuseWhatIsNotServed(_ capabilities: Capabilities) throws(ServiceError) {
        if let responseFormat, responseFormat != "b64_json" {
            throw .badField(
                name: "response_format",
                reason: "pictures come in the reply itself, as b64_json; this server keeps no files and has no URLs")
        }
        if let outputFormat, outputFormat != "png" { throw .badField(name: "output_format", reason: "pictures are png") }
        // OpenAI's clients send these; a value that asks for nothing else than what is made anyway is taken.
        for (name, value, neutral) in [
            ("quality", quality, ["auto", "standard"]), ("background", background, ["auto", "opaque"]), ("moderation", moderation, ["auto", "low"]),
            ("style", style, ["auto", "vivid", "natural"]),
        ] {
            guard let value, !neutral.contains(value) else { continue }
            throw .badField(name: name, reason: "this server makes one kind of picture; leave the field out or give \(neutral.joined(separator: " or "))")
        }
        if let outputCompression, outputCompression != 100 {
            throw .badField(name: "output_compression", reason: "png loses nothing; leave it out or give 100")
        }
    }

    /// The side of the pictures, told apart from what was asked for only where the operator allows it.
    func chosenSize(_ own: String, of recipe: BoundRecipe, _ capabilities: Capabilities) throws(ServiceError) -> String {
        guard let size, size != "auto", size != own else { return own }
        let sides = size.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        guard capabilities.foreignSize == .nearest, sides.count == 2, sides.allSatisfy({ (1...65_536).contains($0) }) else {
            throw .badField(name: "size", reason: "'\(recipe.label)' makes pictures of \(own); give that or auto")
        }
        return own
    }

    /// What was said of the sampling, within the limits.
    func askedSampling(_ capabilities: Capabilities) throws(ServiceError) -> AskedSampling {
        let sampler = try chosenSampler(capabilities), guidance = try chosenGuidance(capabilities)
        return AskedSampling(
            sampler: sampler, steps: steps, kind: self.guidance == nil ? nil : guidance.kind, scale: guidanceScale,
            interval: guidanceInterval == nil ? nil : guidance.interval)
    }

    private func chosenSampler(_ capabilities: Capabilities) throws(ServiceError) -> Sampler? {
        guard let sampler else { return nil }
        guard let known = Sampler(rawValue: sampler), capabilities.samplers.contains(known) else {
            throw .badField(name: "sampler", reason: "this base works with \(capabilities.samplers.map(\.rawValue).joined(separator: ", "))")
        }
        return known
    }

    func chosenDecoder(_ capabilities: Capabilities) throws(ServiceError) -> DecoderKind? {
        guard let decoder else { return nil }
        guard let known = DecoderKind(rawValue: decoder) else {
            throw .badField(name: "decoder", reason: "it is one of \(DecoderKind.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        guard capabilities.decoders.contains(known) else { throw .badField(name: "decoder", reason: known.absence(capabilities.decoders)) }
        return known
    }

    private func chosenGuidance(_ capabilities: Capabilities) throws(ServiceError) -> ImageGuidance {
        let scale = try within(0...capabilities.limits.guidanceScale, guidanceScale ?? capabilities.guidanceScale, "guidance_scale")
        guard let kind = guidance.map(GuidanceKind.init(rawValue:)) ?? .cfg else {
            throw .badField(name: "guidance", reason: "it is one of \(GuidanceKind.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        guard let ends = guidanceInterval else { return ImageGuidance(kind, scale: scale) }
        guard ends.count == 2, 0 <= ends[0], ends[0] <= ends[1], ends[1] <= 1 else {
            throw .badField(name: "guidance_interval", reason: "it is two noise levels from 0 (data) to 1 (noise), the lower first")
        }
        return ImageGuidance(kind, scale: scale, interval: ends[0]...ends[1])
    }

    /// The class or blend that `class` or `prompt` asks for.
    func chosenClass(
        of recipe: BoundRecipe, strength: Double, _ limits: RequestLimits
    ) throws(ServiceError) -> (stages: [ImageOrder.Stage], className: String) {
        let field = className == nil && prompt != nil ? "prompt" : "class"
        if let className, let prompt, !prompt.isEmpty, prompt != className {
            throw .badField(name: "prompt", reason: "it names another class than 'class' does; give one of them")
        }
        let names = recipe.classNames
        guard let text = className ?? prompt, !text.allSatisfy(\.isWhitespace) else {
            throw .missingField(name: field, wanted: "give a class in 'class' or 'prompt', such as \(names.first ?? "null")")
        }
        guard text.utf8.count <= limits.classBytes else { throw .badField(name: field, reason: "it is longer than \(limits.classBytes) bytes") }
        do throws(ComposerError) {
            return try recipe.choosing(class: text, strength: strength)
        } catch {
            guard case .unknownClass(let unknown, _) = error else { throw .badField(name: field, reason: "\(error)") }
            throw .unknownClass(
                field: field, name: String(unknown.prefix(64)), adapter: recipe.label, nearest: nearestNames(to: unknown, among: names),
                some: names.count > 12 ? names.prefix(12) + ["others"] : names)
        }
    }
}

extension Recipe {
    init(model: String, limits: RequestLimits) throws(ServiceError) {
        guard model.utf8.count <= limits.recipeBytes else { throw .badField(name: "model", reason: "it is longer than \(limits.recipeBytes) bytes") }
        do {
            try self.init(model)
        } catch {
            throw .badReference(sentence("\(error.line.prefix(1).uppercased())\(error.line.dropFirst())"))
        }
    }
}

extension GenerationRequest.WeightedAdapter {
    /// As a term of a recipe.
    fileprivate var term: String {
        get throws(RecipeError) {
            guard (try? AdapterReference(name)) != nil || name == "base" else {
                throw RecipeError(text: name, position: 0, reason: "'\(name.prefix(64))' is no adapter's name or digest")
            }
            let weight = weight ?? 1
            guard abs(weight) <= Recipe.largestWeight else {
                throw RecipeError(text: name, position: 0, reason: "the weight of '\(name)' is at most \(Recipe.largestWeight)")
            }
            return (weight < 0 ? "-" : "") + "\(abs(weight))*\(name)"
        }
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
