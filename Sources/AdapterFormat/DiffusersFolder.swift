import Foundation
import TensorFiles

/// A model as diffusers saves it: a pipeline folder with `model_index.json`, or its `transformer` folder alone
/// (`DiT.md`, "Pipeline folders"). Unknown fields are passed over, missing ones and nulls have diffusers' defaults.
package struct DiffusersFolder: Sendable {
    /// The transformer under the reference's names.
    let transformer: TensorFile
    let fields: BaseFields
    let card: BaseCard
    /// The autoencoders' weights, where the folder has some: `vae`, and `tiny_vae` beside it where we wrote one.
    package let autoencoders: [AutoencoderFile]

    static let tinyFolder = "tiny_vae"

    package init(path: String) throws {
        let index: PipelineIndex? = try Self.json(path + "/model_index.json")
        if let name = index?.pipeline, name != "DiTPipeline" {
            throw AdapterFormatError.notADiT(file: path + "/model_index.json", field: "_class_name", value: name, wanted: "DiTPipeline")
        }
        let isPipeline = FileManager.default.fileExists(atPath: path + "/transformer")
        let folder = isPipeline ? path + "/transformer" : path
        let weights = try TensorFile(path: folder).expandingTwoOfFour()
        transformer = try DiffusersNames.original(weights)
        fields = try Self.fields(folder, required: true, of: transformer)
        try Self.checkSchedule(path + "/scheduler/scheduler_config.json")
        autoencoders = try ["vae", Self.tinyFolder].map { "\(path)/\($0)" }
            .filter { isPipeline && FileManager.default.fileExists(atPath: $0) }.map { try AutoencoderFile(path: $0) }

        let name = URL(filePath: path).standardizedFileURL.lastPathComponent
        var card = BaseCard.dit
        card.name = name.isEmpty ? card.name : name
        if let labels = index?.id2label { card.classNames = try Self.classNames(labels, file: path + "/model_index.json") }
        self.card = card
    }

    /// Whether a folder is a pipeline, or one of its components with diffusers' description of a network.
    static func isDiffusers(_ path: String) throws -> Bool {
        struct Named: Decodable { let _class_name: String? }
        let files = FileManager.default
        if files.fileExists(atPath: path + "/model_index.json") || files.fileExists(atPath: path + "/transformer") { return true }
        if files.fileExists(atPath: path + "/adapter_config.json") {
            throw AdapterFormatError.otherMethod(file: path, what: "is a PEFT adapter, not a base: take it in with 'adapterctl add'")
        }
        let config: Named? = try json(path + "/config.json")
        return config?._class_name != nil
    }

    /// What the transformer's `config.json` says, after what it says was found to be what this network computes.
    /// - Parameter file: the weights under the reference's names.
    static func fields(_ folder: String, required: Bool, of file: TensorFile) throws -> BaseFields {
        let path = folder + "/config.json"
        guard let config: TransformerConfig = try json(path) else {
            guard required else { return BaseFields() }
            throw TensorFileError.unreadable(path: path, reason: "a diffusers folder describes its network there")
        }
        func check(_ field: String, _ value: String?, _ wanted: String...) throws {
            if let value, !wanted.contains(value) {
                throw AdapterFormatError.notADiT(file: path, field: field, value: value, wanted: wanted.joined(separator: " or "))
            }
        }
        func check(_ field: String, _ value: (some BinaryFloatingPoint)?, _ wanted: Double) throws {
            if let value, Double(value) != wanted { try check(field, "\(value)", "\(wanted)") }
        }
        if config.quantization != nil {
            throw AdapterFormatError.quantised(file: path, name: "quantization_config", how: "its config says so")
        }
        try check("_class_name", config.className, "DiTTransformer2DModel", "Transformer2DModel")
        try check("norm_type", config.normType, "ada_norm_zero")
        try check("activation_fn", config.activation, "gelu-approximate")
        try check("norm_eps", config.normEpsilon, 1e-5)
        try check("interpolation_scale", config.interpolation, 1)
        try check("norm_elementwise_affine", config.isAffine.map { "\($0)" }, "false")
        try check("attention_bias", config.attentionBias.map { "\($0)" }, "true")
        try check("double_self_attention", config.doubleAttention.map { "\($0)" }, "false")
        try check("only_cross_attention", config.onlyCross.map { "\($0)" }, "false")
        try check("cross_attention_dim", config.crossAttention.map { "\($0)" }, "null")
        // What the weights' shapes give too must be the same.
        let embedder = file["x_embedder.proj.weight"]?.shape ?? []
        if embedder.count == 4 {
            try check("in_channels", config.inChannels.map { "\($0)" }, "\(embedder[1])")
            try check("patch_size", config.patchSize.map { "\($0)" }, "\(embedder[2])")
            let depth = Set(file.entries.compactMap { $0.name.hasPrefix("blocks.") ? Int($0.name.dropFirst(7).prefix { $0 != "." }) : nil }).count
            try check("num_layers", config.layers.map { "\($0)" }, "\(depth)")
            let heads = config.heads ?? 16
            if heads > 0, embedder[0] % heads == 0 { try check("attention_head_dim", config.headDimension.map { "\($0)" }, "\(embedder[0] / heads)") }
        }
        var fields = BaseFields(inputSize: config.sampleSize ?? 32, numHeads: config.heads ?? 16)
        // diffusers' table has a null row after the classes.
        if let classes = config.classes, file[TunableLayout.classTableName]?.shape.first == classes + 1 { fields.numClasses = classes }
        return fields
    }

    /// The samplers of this package compute the schedule that every published DiT was trained on, and no other.
    private static func checkSchedule(_ path: String) throws {
        guard let schedule: ScheduleConfig = try json(path) else { return }
        let clips = ["DDIMScheduler", "DDPMScheduler"].contains(schedule.className)
        let wanted: [(String, String?, String)] = [
            ("beta_schedule", schedule.schedule, "linear"), ("prediction_type", schedule.prediction, "epsilon"),
            ("beta_start", schedule.start.map { "\($0)" }, "0.0001"), ("beta_end", schedule.end.map { "\($0)" }, "0.02"),
            ("num_train_timesteps", schedule.steps.map { "\($0)" }, "1000"),
            // These two clip where nothing is said.
            ("clip_sample", schedule.clips.map { "\($0)" } ?? (clips ? "true" : nil), "false"), ("thresholding", schedule.thresholds.map { "\($0)" }, "false"),
            ("rescale_betas_zero_snr", schedule.rescales.map { "\($0)" }, "false"), ("trained_betas", schedule.betas.map { "\($0.count, "value")" }, "null"),
            ("timestep_spacing", schedule.spacing == "linspace" ? nil : schedule.spacing, "leading"),
            ("steps_offset", schedule.className == "DDIMScheduler" ? schedule.offset.map { "\($0)" } : nil, "0"),
        ]
        for case (let field, let value?, let wanted) in wanted where value != wanted {
            throw AdapterFormatError.notADiT(
                file: path, field: field, value: value, wanted: "\(wanted); to sample at this program's own steps give the transformer's folder alone")
        }
        if let name = schedule.className, name.hasPrefix("FlowMatch") {
            throw AdapterFormatError.notADiT(file: path, field: "_class_name", value: name, wanted: "a scheduler of noise prediction, such as DDIMScheduler")
        }
    }

    /// Names by class number; a number without a name is its own.
    private static func classNames(_ labels: [String: String], file: String) throws -> [String] {
        let numbered = try labels.map { key, value in
            guard let number = Int(key), (0..<1_000_000).contains(number) else {
                throw AdapterFormatError.badMetadata(file: file, key: "id2label", reason: "'\(key)' is not the number of a class")
            }
            return (number, value)
        }
        let count = (numbered.map(\.0).max() ?? -1) + 1
        guard count <= 2 * numbered.count + 1000 else {
            throw AdapterFormatError.badMetadata(file: file, key: "id2label", reason: "\(numbered.count, "name") for \(count, "class")")
        }
        let names = Dictionary(numbered, uniquingKeysWith: { $1 })
        return (0..<count).map { names[$0] ?? "\($0)" }
    }

    /// nil where nothing lies at the path.
    static func json<Content: Decodable>(_ path: String) throws -> Content? {
        guard let text = try text(path) else { return nil }
        do {
            return try JSONDecoder().decode(Content.self, from: text.withoutByteOrderMark)
        } catch {
            throw AdapterFormatError.badJSON(file: path, reason: plainReason(error))
        }
    }

    /// The content of a file of a few MB; nil where nothing lies at the path.
    static func text(_ path: String) throws -> Data? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        let file = try MappedFile(path: path)
        guard file.count <= 1 << 22 else { throw AdapterFormatError.badJSON(file: path, reason: "it has \(file.count) bytes; 4 MB at most are read") }
        return Data(file.bytes(0..<file.count))
    }
}

private struct PipelineIndex: Decodable {
    var pipeline: String?
    var id2label: [String: String]?

    enum CodingKeys: String, CodingKey {
        case id2label
        case pipeline = "_class_name"
    }
}

private struct TransformerConfig: Decodable {
    var className, normType, activation: String?
    var sampleSize, classes, heads, headDimension, inChannels, patchSize, layers, crossAttention: Int?
    var normEpsilon, interpolation: Double?
    var isAffine, attentionBias, doubleAttention, onlyCross: Bool?
    var quantization: Quantization?

    struct Quantization: Decodable {}

    enum CodingKeys: String, CodingKey {
        case className = "_class_name"
        case normType = "norm_type"
        case activation = "activation_fn"
        case sampleSize = "sample_size"
        case classes = "num_embeds_ada_norm"
        case heads = "num_attention_heads"
        case headDimension = "attention_head_dim"
        case inChannels = "in_channels"
        case patchSize = "patch_size"
        case layers = "num_layers"
        case crossAttention = "cross_attention_dim"
        case normEpsilon = "norm_eps"
        case interpolation = "interpolation_scale"
        case isAffine = "norm_elementwise_affine"
        case attentionBias = "attention_bias"
        case doubleAttention = "double_self_attention"
        case onlyCross = "only_cross_attention"
        case quantization = "quantization_config"
    }
}

private struct ScheduleConfig: Decodable {
    var className, schedule, prediction, spacing: String?
    var start, end: Double?
    var steps, offset: Int?
    var clips, thresholds, rescales: Bool?
    var betas: [Double]?

    enum CodingKeys: String, CodingKey {
        case className = "_class_name"
        case schedule = "beta_schedule"
        case prediction = "prediction_type"
        case start = "beta_start"
        case end = "beta_end"
        case steps = "num_train_timesteps"
        case offset = "steps_offset"
        case spacing = "timestep_spacing"
        case clips = "clip_sample"
        case thresholds = "thresholding"
        case rescales = "rescale_betas_zero_snr"
        case betas = "trained_betas"
    }
}
