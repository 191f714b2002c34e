import Foundation
import TensorFiles

/// The weights of an autoencoder on their way into a store: a component folder of diffusers, or one file, an AutoencoderKL in diffusers'
/// or CompVis' names or an AutoencoderTiny in diffusers'. The names stay as they are; the module Autoencoder knows them all (`DiT.md`,
/// "Autoencoder").
package struct AutoencoderFile: Sendable {
    package let file: TensorFile
    /// `full` is an AutoencoderKL, `tiny` an AutoencoderTiny.
    package let kind: DecoderKind
    /// The fields of its `config.json` but for the writer's own, as canonical JSON; nil where there is none.
    let config: String?
    /// What latents are multiplied by.
    package let latentScale: Double
    /// Whether its configuration says so; a bare file does not, and Stable Diffusion's factor is taken, or 1 of an AutoencoderTiny.
    package let statesScale: Bool

    /// The parts of a training checkpoint that are the autoencoder.
    private static let parts = ["encoder.", "decoder.", "quant_conv.", "post_quant_conv."]
    private static let prefix = "first_stage_model."

    /// - Parameter given: what latents are multiplied by, for a file that does not say.
    package init(path: String, latentScale given: Double? = nil) throws {
        let weights = try TensorFile(path: path)
        let entries = weights.entries.filter { entry in
            let name = entry.name.hasPrefix(Self.prefix) ? String(entry.name.dropFirst(Self.prefix.count)) : entry.name
            return entry.dtype.isFloatingPoint && Self.parts.contains { name.hasPrefix($0) }
        }
        let has = { (name: String) in entries.contains { $0.name.hasSuffix(name) } }
        let isTiny = has("decoder.layers.0.weight")
        guard isTiny || has("decoder.conv_in.weight") else {
            throw AdapterFormatError.missingTensor(file: weights.path, name: "decoder.conv_in.weight", shape: [])
        }
        kind = isTiny && !has("decoder.conv_in.weight") ? .tiny : .full
        let usual = kind == .tiny ? 1 : BaseCard.latentScale
        file = TensorFile(path: weights.path, metadata: weights.metadata, entries: entries, section: weights.section)
        let beside = URL(filePath: weights.path).deletingLastPathComponent().appending(path: "config.json").path(percentEncoded: false)
        let text = try weights.metadata["config"].map { Data($0.utf8) } ?? DiffusersFolder.text(beside)
        guard let text else {
            (config, latentScale, statesScale) = (given.map { "{\"scaling_factor\":\($0)}" }, given ?? usual, given != nil)
            return
        }
        guard let fields = (try? JSONSerialization.jsonObject(with: text.withoutByteOrderMark)) as? [String: Any] else {
            throw AdapterFormatError.badJSON(file: beside, reason: "it is no JSON object")
        }
        try Self.check(fields, kind, beside)
        let own = fields.filter { !$0.key.hasPrefix("_") }
        config = String(decoding: try JSONSerialization.data(withJSONObject: own, options: [.sortedKeys, .withoutEscapingSlashes]), as: UTF8.self)
        let stated = own["scaling_factor"].flatMap { $0 is NSNull ? nil : $0 }
        let scale = stated as? Double ?? (stated == nil ? usual : .nan)
        guard scale.isFinite, scale > 0 else {
            throw AdapterFormatError.badMetadata(file: beside, key: "scaling_factor", reason: "\(scale) is not above 0")
        }
        latentScale = scale
        // Of a config without the field it is the class's default.
        statesScale = true
    }

    /// Refuses what the decoder here does not compute: latents that are normalised by channel, other activations, and other kinds of
    /// autoencoder.
    private static func check(_ fields: [String: Any], _ kind: DecoderKind, _ path: String) throws {
        let name = kind == .tiny ? "AutoencoderTiny" : "AutoencoderKL"
        let activations = kind == .tiny ? ["relu"] : ["silu", "swish"]
        let wanted: [(String, (Any) -> Bool, String)] = [
            ("_class_name", { $0 as? String == name }, name), ("latents_mean", { _ in false }, "null"),
            ("latents_std", { _ in false }, "null"),
            ("act_fn", { activations.contains(($0 as? String)?.lowercased() ?? "") }, activations[0]),
        ]
        for (field, isRight, text) in wanted {
            guard let value = fields[field], !(value is NSNull), !isRight(value) else { continue }
            throw AdapterFormatError.notADiT(file: path, field: field, value: "\(value)", wanted: text)
        }
    }

    /// The file in the store's own form: float32, in the order of names.
    package var encoding: SafetensorsEncoding {
        let tensors = file.entries.sorted { $0.name < $1.name }.map { OutgoingTensor($0, as: .f32) }
        return SafetensorsEncoding(tensors, metadata: (config.map { ["config": $0] } ?? [:]).merging(["format": "pt"]) { $1 })
    }

    /// Refuses a tensor with a value that is not finite.
    package func checkValues() throws {
        for entry in file.entries where !entry.isFinite { throw AdapterFormatError.notFinite(file: file.path, name: entry.name) }
    }
}
