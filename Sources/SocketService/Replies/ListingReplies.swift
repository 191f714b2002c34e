import AdapterFormat
import AdapterStore
import Foundation
import SamplingEngine

/// OpenAI's list of models, with what a client of ours wants beside it.
struct ModelsReply: Encodable, Sendable {
    struct Model: Encodable, Sendable {
        let id: String
        var object = "model"
        let created: Int
        var ownedBy = "difffit"
        let parent: String?
        let digest: String
        let classes: [String]
        let role: String

        init(id: String, digest: String, parent: String?, created: Int, classes: [String], role: String = "domain") {
            self.role = role
            self.id = id
            self.digest = digest
            self.parent = parent
            self.created = created
            self.classes = classes
        }

        /// - Throws: `StoreError.damaged` where the manifest cannot be read.
        init(_ entry: AdapterEntry, parent: String) throws {
            let manifest = try entry.decodedManifest()
            let created = manifest.created.flatMap { try? Date($0, strategy: .iso8601) }.map { Int($0.timeIntervalSince1970) } ?? 0
            self.init(
                id: entry.name ?? entry.digest.description, digest: entry.digest.description, parent: parent, created: created,
                classes: manifest.classes, role: manifest.role)
        }
    }

    var object = "list"
    let data: [Model]
}

struct AdaptersReply: Encodable, Sendable {
    let adapters: [AdapterReply]
}

/// One adapter's record.
struct AdapterReply: Encodable, Sendable {
    let name: String?
    let digest: String
    let baseDigest: String
    let classes: [String]
    /// domain, guidance (one row in place of a guided pair) or steps (a vector for each step of a sampler).
    let role: String
    /// Of a distilled vector: the guidance that is in its values, the scales that its weight was measured for, and its steps.
    let distilled: Distilled?
    let storedBytes: Int
    let contentBytes: Int
    let precision: String
    let created: String?
    let trainableSet: String?
    let training: Training?
    /// What the sampler `fitted` can be asked for.
    let solvers: [Solver]

    struct Distilled: Encodable, Sendable {
        let guidance: String
        let guidanceScale: Double
        let guidanceInterval: [Double]
        let scales: [Double]?
        let steps: Int?
        let domains: [String]
        let psnr: Double?
    }

    struct Solver: Encodable, Sendable {
        let steps: Int
        let guidance: String
        let guidanceScale: Double
        let guidanceInterval: [Double]
        /// Against the sampling that it was fitted to, in dB.
        let psnr: Double
    }

    /// Named anew, so that the reply's spelling does not hang on the manifest's.
    struct Training: Encodable, Sendable {
        let data: String
        let images: Int
        let steps: Int
        let batch: Int
        let learningRate: Float
        let loss: Float
    }

    /// - Throws: `StoreError.damaged` where the manifest cannot be read.
    init(_ entry: AdapterEntry) throws {
        let manifest = try entry.decodedManifest()
        name = entry.name
        digest = entry.digest.description
        baseDigest = entry.baseDigest.description
        classes = manifest.classes
        role = manifest.role
        distilled = manifest.distillation.map {
            Distilled(
                guidance: $0.guidance, guidanceScale: $0.guidanceScale, guidanceInterval: $0.guidanceInterval, scales: $0.dial?.map(\.scale),
                steps: $0.steps, domains: $0.domains.map(\.name), psnr: $0.psnr)
        }
        storedBytes = entry.storedBytes
        contentBytes = entry.contentBytes
        precision = entry.precision == .f32 ? "f32" : "bf16"
        created = manifest.created
        trainableSet = manifest.trainableSet.method.rawValue
        solvers = (manifest.solverProfiles ?? []).map {
            Solver(
                steps: $0.steps, guidance: $0.guidance, guidanceScale: $0.guidanceScale, guidanceInterval: $0.guidanceInterval, psnr: $0.psnr)
        }
        training = manifest.training.map { facts in
            Training(
                data: facts.data, images: facts.images, steps: facts.steps, batch: facts.batch, learningRate: facts.learningRate,
                loss: facts.loss)
        }
    }
}

/// What a recipe makes.
struct RecipeReply: Encodable, Sendable {
    let recipe: String
    let label: String
    let digest: String
    let adapters: [Usage.Part]
    let classes: [String]
    /// Steps that its vectors are for, where it has one for each.
    let steps: Int?
    /// The guidance scale that is in its values.
    let foldedGuidanceScale: Double?

    init(_ recipe: BoundRecipe) {
        steps = recipe.solver?.steps
        foldedGuidanceScale = recipe.folded?.scale
        self.recipe = recipe.text
        label = recipe.label
        digest = recipe.digest.description
        adapters = recipe.shares.map(Usage.Part.init)
        classes = recipe.classNames
    }
}
