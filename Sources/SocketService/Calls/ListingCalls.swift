import AdapterComposer
import AdapterFormat
import Diffusion
import AdapterStore
import Foundation
import Hummingbird
import SamplingEngine
import TensorMath

extension SamplingService {
    /// `GET /v1/capabilities`: what may be asked for.
    func capabilitiesReply() throws(ServiceError) -> Response {
        Response(json: CapabilitiesReply(capabilities, origin, distilled: try each(CapabilitiesReply.DistilledVector.init).compactMap(\.self)))
    }

    /// `GET /v1/models`: OpenAI's list, the base first.
    func models() throws(ServiceError) -> Response {
        Response(json: ModelsReply(data: [baseModel] + (try each { try ModelsReply.Model($0, parent: origin.baseName) })))
    }

    /// `GET /v1/models/{ref}`: one line of the list.
    func model(_ call: Call) throws(ServiceError) -> Response {
        if call.reference == "base" { return Response(json: baseModel) }
        return Response(json: try entry(call) { try ModelsReply.Model($0, parent: origin.baseName) })
    }

    private var baseModel: ModelsReply.Model {
        ModelsReply.Model(id: "base", digest: origin.baseDigest.description, parent: nil, created: 0, classes: engine.base.classes.names)
    }

    /// `GET /v1/adapters`
    func adapters() throws(ServiceError) -> Response { Response(json: AdaptersReply(adapters: try each(AdapterReply.init))) }

    /// `GET /v1/adapters/{ref}`
    func adapter(_ call: Call) throws(ServiceError) -> Response { Response(json: try entry(call, AdapterReply.init)) }

    private func entry<Reply>(_ call: Call, _ reply: (AdapterEntry) throws -> Reply) throws(ServiceError) -> Reply {
        do {
            _ = try AdapterReference(call.reference)
            return try reply(catalogue.lookup(call.reference))
        } catch {
            throw ServiceError(binding: error)
        }
    }

    /// `GET /v1/recipes/{recipe}`: how a recipe is understood, its adapters and classes, without sampling.
    func recipe(_ call: Call) async throws(ServiceError) -> Response {
        let text = call.parameters.get("recipe").flatMap(\.removingPercentEncoding) ?? ""
        let recipe = try Recipe(model: text, limits: capabilities.limits)
        let bound = try await composed(recipe.only == nil ? composingCost(recipe) : 0, nil, call) { () throws(ServiceError) in
            try bind(recipe, strength: 1, labelsFrom: nil)
        }
        return Response(json: RecipeReply(bound))
    }

    private func each<Reply>(_ reply: (AdapterEntry) throws -> Reply) throws(ServiceError) -> [Reply] {
        do {
            return try catalogue.list().map(reply)
        } catch {
            throw ServiceError(binding: error)
        }
    }
}

extension Call {
    /// Decoded once, then read as a name or a digest and nothing else.
    fileprivate var reference: String { parameters.get("ref").flatMap(\.removingPercentEncoding) ?? "" }
}

private struct CapabilitiesReply: Encodable {
    let build: String
    let base: String
    let baseDigest: String
    let size: String
    /// The arithmetic of the network: f32, bf16, int8 or int8-careful.
    let precision: String
    /// Libraries and kernels that compute it, and what keeps them from this processor's best.
    let kernels: String
    let kernelWarning: String?
    let samplers: [String]
    let guidance = GuidanceKind.allCases.map(\.rawValue)
    let caches = CacheLevel.allCases.map(\.rawValue)
    /// What makes pictures of latents, `full` by an AutoencoderKL and `tiny`; none where the base makes pixels.
    let decoders: [String]
    let merges = ["ties", "dare", "majority"]
    /// Vectors that may be added to a domain, as of now.
    let distilled: [DistilledVector]
    let defaults: Defaults
    let limits: RequestLimits

    struct Defaults: Encodable {
        let sampler: String
        let steps: Int
        let guidanceScale: Float
        /// Of finished pictures, and of previews.
        let decoder, previewDecoder: String?
    }

    struct DistilledVector: Encodable {
        let name, role: String
        /// Of a sampler that it has a vector for each of.
        let steps: Int?
        /// The guidance that is in its values, and the scales that the dial of a guidance vector may be asked for.
        let guidanceScale: Double
        let scales: [Double]?

        /// nil of a domain.
        init?(_ entry: AdapterEntry) throws {
            guard let record = try entry.decodedManifest().distillation else { return nil }
            name = entry.name ?? entry.digest.description
            role = record.role.rawValue
            steps = record.steps
            guidanceScale = record.guidanceScale
            scales = record.dial?.map(\.scale)
        }
    }

    init(_ capabilities: Capabilities, _ origin: Origin, distilled: [DistilledVector]) {
        self.distilled = distilled
        build = origin.build
        base = origin.baseName
        baseDigest = origin.baseDigest.description
        size = capabilities.size
        precision = origin.precision
        kernels = Precision(rawValue: origin.precision)?.libraries ?? ""
        kernelWarning = TensorMath.kernelWarning
        samplers = capabilities.samplers.map(\.rawValue)
        defaults = Defaults(
            sampler: capabilities.sampler.rawValue, steps: capabilities.steps, guidanceScale: capabilities.guidanceScale,
            decoder: DecoderKind.usual(among: capabilities.decoders)?.rawValue,
            previewDecoder: DecoderKind.usual(among: capabilities.decoders, forPreview: true)?.rawValue)
        decoders = capabilities.decoders.map(\.rawValue)
        limits = capabilities.limits
    }
}
