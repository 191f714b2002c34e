import AdapterComposer
import AdapterFormat
import AdapterStore
import Foundation
import Hummingbird
import SamplingEngine

extension SamplingService {
    /// `GET /v1/capabilities`: what may be asked for.
    func capabilities() -> Response { Response(json: Capabilities(offer, origin)) }

    /// `GET /v1/models`: OpenAI's list, the base first.
    func models() throws(ServiceError) -> Response {
        let base = ModelsReply.Model(
            id: "base", digest: origin.baseDigest.description, parent: nil, created: 0, classes: engine.base.classes.names)
        return Response(json: ModelsReply(data: [base] + (try entries()).map { ModelsReply.Model($0, parent: origin.baseName) }))
    }

    /// `GET /v1/adapters`
    func adapters() throws(ServiceError) -> Response { Response(json: AdaptersReply(adapters: try entries().map(AdapterReply.init))) }

    /// `GET /v1/adapters/{ref}`
    func adapter(_ call: Call) throws(ServiceError) -> Response {
        // Decoded once, then read as a name or a digest and nothing else.
        let reference = call.parameters.get("ref").flatMap(\.removingPercentEncoding) ?? ""
        do {
            _ = try AdapterReference(reference)
            return Response(json: AdapterReply(try catalogue.store.lookup(reference)))
        } catch {
            throw ServiceError(binding: error)
        }
    }

    /// `GET /v1/recipes/{recipe}`: how a recipe is understood, its adapters and classes, without sampling.
    func recipe(_ call: Call) throws(ServiceError) -> Response {
        let text = call.parameters.get("recipe").flatMap(\.removingPercentEncoding) ?? ""
        return Response(json: RecipeReply(try bind(Recipe(model: text, limits: offer.limits), strength: 1, labelsFrom: nil)))
    }

    private func entries() throws(ServiceError) -> [AdapterEntry] {
        do {
            return try catalogue.list()
        } catch {
            throw ServiceError(binding: error)
        }
    }
}

private struct Capabilities: Encodable {
    let build: String
    let base: String
    let baseDigest: String
    let size: String
    let samplers: [String]
    let guidance = GuidanceKind.allCases.map(\.rawValue)
    let caches = CacheLevel.allCases.map(\.rawValue)
    let merges = ["ties", "dare", "majority"]
    let defaults: Defaults
    let limits: RequestLimits

    struct Defaults: Encodable {
        let sampler: String
        let steps: Int
        let guidanceScale: Float
    }

    init(_ offer: Offer, _ origin: Origin) {
        build = origin.build
        base = origin.baseName
        baseDigest = origin.baseDigest.description
        size = offer.size
        samplers = offer.samplers.map(\.rawValue)
        defaults = Defaults(sampler: offer.sampler.rawValue, steps: offer.steps, guidanceScale: offer.guidanceScale)
        limits = offer.limits
    }
}
