import Foundation
import TensorFiles

/// A model as diffusers saves it: a pipeline folder with `model_index.json`, or its `transformer` folder alone
/// (`reference/dit.md` section 12). Unknown fields are passed over, missing ones and nulls have diffusers' defaults.
package struct DiffusersFolder: Sendable {
    /// The transformer under the reference's names.
    let transformer: TensorFile
    let fields: BaseFields
    let card: BaseCard
    /// The autoencoder's weights, where the folder has some.
    package let vae: AutoencoderFile?

    package init(path: String) throws {
        let index: PipelineIndex? = try Self.json(path + "/model_index.json")
        if let name = index?.pipeline, name != "DiTPipeline" {
            throw AdapterFormatError.notADiT(file: path + "/model_index.json", field: "_class_name", value: name, wanted: "DiTPipeline")
        }
        let isPipeline = FileManager.default.fileExists(atPath: path + "/transformer")
        let folder = isPipeline ? path + "/transformer" : path
        let weights = try TensorFile(path: try Self.weights(in: folder))
        transformer = try DiffusersNames.original(weights)
        fields = try Self.fields(folder, required: true)
        try Self.checkSchedule(path + "/scheduler/scheduler_config.json")
        vae = try isPipeline && FileManager.default.fileExists(atPath: path + "/vae") ? AutoencoderFile(path: path + "/vae") : nil

        let name = URL(filePath: path).standardizedFileURL.lastPathComponent
        var card = BaseCard.dit
        card.name = name.isEmpty ? card.name : name
        if let labels = index?.id2label { card.classNames = try Self.classNames(labels, file: path + "/model_index.json") }
        self.card = card
    }

    package static func isFolder(_ path: String) -> Bool {
        (try? URL(filePath: path).resourceValues(forKeys: [.isDirectoryKey]))?.isDirectory ?? false
    }

    /// The file of weights in a component's folder: safetensors before `.bin`, whole before sharded.
    package static func weights(in folder: String) throws(TensorFileError) -> String {
        let stem = folder + "/diffusion_pytorch_model"
        let names = [".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".fp16.safetensors", ".fp16.bin"].map { stem + $0 }
        guard let found = names.first(where: { FileManager.default.fileExists(atPath: $0) }) else {
            throw .unreadable(path: stem + ".safetensors", reason: "neither it nor a .bin is there")
        }
        return found
    }

    /// What the transformer's `config.json` says.
    static func fields(_ folder: String, required: Bool) throws -> BaseFields {
        let path = folder + "/config.json"
        guard let config: TransformerConfig = try json(path) else {
            guard required else { return BaseFields() }
            throw TensorFileError.unreadable(path: path, reason: "a diffusers folder describes its network there")
        }
        let known = ["DiTTransformer2DModel", "Transformer2DModel"]
        if let name = config.className, !known.contains(name) {
            throw AdapterFormatError.notADiT(file: path, field: "_class_name", value: name, wanted: known.joined(separator: " or "))
        }
        if let norm = config.normType, norm != "ada_norm_zero" {
            throw AdapterFormatError.notADiT(file: path, field: "norm_type", value: norm, wanted: "ada_norm_zero")
        }
        if let activation = config.activation, activation != "gelu-approximate" {
            throw AdapterFormatError.notADiT(file: path, field: "activation_fn", value: activation, wanted: "gelu-approximate")
        }
        return BaseFields(inputSize: config.sampleSize ?? 32, numHeads: config.heads ?? 16)
    }

    /// The samplers of this package compute the schedule that every published DiT was trained on, and no other.
    private static func checkSchedule(_ path: String) throws {
        guard let schedule: ScheduleConfig = try json(path) else { return }
        let wanted: [(String, String?, String)] = [
            ("beta_schedule", schedule.schedule, "linear"), ("prediction_type", schedule.prediction, "epsilon"),
            ("beta_start", schedule.start.map { "\($0)" }, "0.0001"), ("beta_end", schedule.end.map { "\($0)" }, "0.02"),
            ("num_train_timesteps", schedule.steps.map { "\($0)" }, "1000"),
        ]
        for case (let field, let value?, let wanted) in wanted where value != wanted {
            throw AdapterFormatError.notADiT(file: path, field: field, value: value, wanted: wanted)
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
            throw AdapterFormatError.badMetadata(file: file, key: "id2label", reason: "\(numbered.count) names for \(count) classes")
        }
        let names = Dictionary(numbered, uniquingKeysWith: { $1 })
        return (0..<count).map { names[$0] ?? "\($0)" }
    }

    /// nil where nothing lies at the path.
    static func json<Content: Decodable>(_ path: String) throws -> Content? {
        guard let text = try text(path) else { return nil }
        do {
            return try JSONDecoder().decode(Content.self, from: text)
        } catch DecodingError.typeMismatch(_, let context) where !context.codingPath.isEmpty {
            throw AdapterFormatError.badJSON(file: path, reason: "'\(context.codingPath[0].stringValue)' is not of the kind it should be")
        } catch {
            throw AdapterFormatError.badJSON(file: path, reason: "it is no JSON object")
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
    var sampleSize, heads: Int?

    enum CodingKeys: String, CodingKey {
        case className = "_class_name"
        case normType = "norm_type"
        case activation = "activation_fn"
        case sampleSize = "sample_size"
        case heads = "num_attention_heads"
    }
}

private struct ScheduleConfig: Decodable {
    var schedule, prediction: String?
    var start, end: Double?
    var steps: Int?

    enum CodingKeys: String, CodingKey {
        case schedule = "beta_schedule"
        case prediction = "prediction_type"
        case start = "beta_start"
        case end = "beta_end"
        case steps = "num_train_timesteps"
    }
}
