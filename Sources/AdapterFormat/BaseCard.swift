/// What a run takes of a data set.
package struct DataTaken: Sendable, Hashable, Codable {
    /// train, validation or test; nil takes `train` of a set that comes in parts.
    package var split: String?
    /// Class names; nil takes all.
    package var classes: [String]?
    /// Pictures of each class at most, chosen by the seed.
    package var perClass: Int?
    package var seed: UInt64

    package init(split: String?, classes: [String]?, perClass: Int?, seed: UInt64) {
        (self.split, self.classes, self.perClass, self.seed) = (split, classes, perClass, seed)
    }

    /// Whether nothing was left out by choice.
    package var isAll: Bool { split == nil && classes == nil && perClass == nil }

    enum CodingKeys: String, CodingKey {
        case split, classes, seed
        case perClass = "per_class"
    }
}

/// What a training run did, as manifests and cards record it.
package struct TrainingFacts: Sendable, Hashable, Codable {
    /// Where the data came from, such as "synthetic:flowers".
    package var data: String
    package var dataDigest: Digest
    package var images: Int
    package var steps: Int
    package var batch: Int
    package var learningRate: Float
    package var lossWeighting: String
    package var seed: UInt64
    /// Mean training loss over the last tenth of the steps.
    package var loss: Float
    /// Denoising error on images that were never trained on, where some were held out.
    package var heldOutError: Float?
    /// Share of each class that was held out, where some was.
    package var validationShare: Double?
    /// How tokens were routed around middle blocks, where they were.
    package var tokenCut: String?
    /// Share of the values that was given back to the base, where some were.
    package var sparsity: Double?
    /// Of the matrices' products, where that is not f32.
    package var precision: String?
    /// What was taken of the data, where that is not all.
    package var taken: DataTaken?

    package init(
        data: String, dataDigest: Digest, images: Int, steps: Int, batch: Int, learningRate: Float, lossWeighting: String, seed: UInt64,
        loss: Float
    ) {
        self.data = data
        self.dataDigest = dataDigest
        self.images = images
        self.steps = steps
        self.batch = batch
        self.learningRate = learningRate
        self.lossWeighting = lossWeighting
        self.seed = seed
        self.loss = loss
    }

    enum CodingKeys: String, CodingKey {
        case data, images, steps, batch, seed, loss, sparsity, precision
        case taken = "data_taken"
        case heldOutError = "held_out_error"
        case validationShare = "validation_share"
        case tokenCut = "token_cut"
        case dataDigest = "data_digest"
        case learningRate = "learning_rate"
        case lossWeighting = "loss_weighting"
    }
}

/// How the blocks' matrices of a base became sparse.
package struct BaseSparsity: Sendable, Hashable, Codable {
    /// How many weights of how many neighbours along a row are kept: "2:4".
    package var pattern: String
    /// By what they were chosen, such as "magnitude"; nil where nobody says.
    package var saliency: String?
    /// The base that they were chosen from.
    package var dense: Digest?

    package init(pattern: String, saliency: String? = nil, dense: Digest? = nil) {
        self.pattern = pattern
        self.saliency = saliency
        self.dense = dense
    }

    enum CodingKeys: String, CodingKey {
        case pattern, saliency
        case dense = "dense_base"
    }
}

/// What a base says about itself beyond its shapes.
package struct BaseCard: Sendable, Hashable, Codable {
    package var name: String
    /// "epsilon", "velocity" or "x0".
    package var prediction: String
    /// "linear-vp" or "linear".
    package var path: String
    /// What the timestep embedder takes for one unit of t.
    package var timeScale: Double
    /// Real classes in table order; empty where they are only numbered.
    package var classNames: [String]
    package var training: TrainingFacts?
    /// Attention heads, where the file itself does not say and an import was told.
    package var heads: Int?
    /// "original" or "diffusers": which public implementation's function of the weights is meant; original where nothing is said.
    package var preset: String?
    /// What the autoencoder's latents are multiplied by before the network sees them; nil for a network of pixels.
    package var latentScale: Double?
    /// SHA-256 of the autoencoder's file that a store keeps beside the base.
    package var vae: Digest?
    /// The same of its tiny autoencoder.
    package var tinyVAE: Digest?
    /// The base whose matrices were rounded to make this one; its adapters belong to this one too.
    package var roundedFrom: Digest?
    /// Where half of its blocks' weights are zero, how that came about.
    package var sparsity: BaseSparsity?

    package init(name: String, prediction: String, path: String, timeScale: Double, classNames: [String], training: TrainingFacts? = nil) {
        self.name = name
        self.prediction = prediction
        self.path = path
        self.timeScale = timeScale
        self.classNames = classNames
        self.training = training
    }

    /// The autoencoders that the store keeps.
    package var decoders: [DecoderKind] { (vae == nil ? [] : [.full]) + (tinyVAE == nil ? [] : [.tiny]) }

    /// Takes over from a card of the same base what this one leaves open.
    package mutating func complete(from known: BaseCard) {
        if classNames.isEmpty { classNames = known.classNames }
        training = training ?? known.training
        heads = heads ?? known.heads
        preset = preset ?? known.preset
        latentScale = latentScale ?? known.latentScale
        vae = vae ?? known.vae
        tinyVAE = tinyVAE ?? known.tinyVAE
        roundedFrom = roundedFrom ?? known.roundedFrom
        sparsity = sparsity ?? known.sparsity
    }

    /// Stable Diffusion's autoencoder, which every published DiT uses (`DiT.md`, "Autoencoder").
    package static let latentScale = 0.18215

    /// A file without a card is a DiT as published.
    package static let dit = BaseCard(name: "dit", prediction: "epsilon", path: "linear-vp", timeScale: 1, classNames: [])

    enum CodingKeys: String, CodingKey {
        case name, prediction, path, training, heads, preset, vae, sparsity
        case latentScale = "latent_scale"
        case tinyVAE = "tiny_vae"
        case roundedFrom = "rounded_from"
        case timeScale = "time_scale"
        case classNames = "class_names"
    }
}
