import Foundation
import TensorFiles

/// A base as it was found: its tensors under the reference's names, and what came with them.
struct BaseSource {
    let file: TensorFile
    let fields: BaseFields
    let card: BaseCard
    /// The autoencoders of a pipeline folder.
    let autoencoders: [AutoencoderFile]

    /// - Parameter path: a diffusers folder, a folder with one model's weights, or a file in either naming and any container that
    ///   `TensorFile` opens.
    init(path: String) throws {
        let isFolder = WeightsFolder.isFolder(path)
        if isFolder, try DiffusersFolder.isDiffusers(path) {
            let folder = try DiffusersFolder(path: path)
            (file, fields, card, autoencoders) = (folder.transformer, folder.fields, folder.card, folder.autoencoders)
            return
        }
        let found = try Self.model(in: TensorFile(path: path).expandingTwoOfFour())
        autoencoders = []
        let own: BaseFields? = try BaseFile.metadata("config", of: found)
        let said = BaseFields(arguments: found.arguments, classRows: found[TunableLayout.classTableName]?.shape.first)
        var published = try Self.objective(found)
        published.name = URL(filePath: path).standardizedFileURL.deletingPathExtension().lastPathComponent
        card = try BaseFile.metadata("card", of: found) ?? published
        if DiffusersNames.isDiffusers(found) {
            file = try DiffusersNames.original(found)
            fields = try DiffusersFolder.fields(URL(filePath: found.path).deletingLastPathComponent().path(percentEncoded: false), required: false, of: file)
        } else {
            file = found
            // Models saved with the hub's mixin have their arguments beside them.
            let beside: BaseFields? = isFolder ? try DiffusersFolder.json(path + "/config.json") : nil
            fields = (own ?? said).completed(by: beside ?? BaseFields())
        }
    }

    /// The one network in a file that may hold others beside it, such as an autoencoder under another prefix; averages first.
    static func model(in file: TensorFile) -> TensorFile {
        let marks = ["x_embedder.proj.weight", "pos_embed.proj.weight"]
        guard !marks.contains(where: { file[$0] != nil }) else { return file }
        let prefixes = file.entries.compactMap { entry in
            marks.first { entry.name.hasSuffix("." + $0) }.map { String(entry.name.dropLast($0.count)) }
        }
        let chosen = prefixes.min { ($0.contains("ema") ? 0 : 1, $0.count, $0) < ($1.contains("ema") ? 0 : 1, $1.count, $1) }
        return chosen.map(file.part(under:)) ?? file
    }

    /// What a published checkpoint predicts: a DiT's noise, or what the arguments of a SiT say (`DiT.md`, "SiT").
    private static func objective(_ file: TensorFile) throws -> BaseCard {
        var card = BaseCard.dit
        let (path, prediction) = (file.arguments["path_type"] ?? file.arguments["path-type"], file.arguments["prediction"])
        guard path != nil || prediction != nil else { return card }
        switch (path?.lowercased() ?? "linear", prediction?.lowercased() ?? "velocity") {
        case ("linear", "velocity"): (card.prediction, card.path) = ("velocity", "linear")
        case ("linear-vp", "epsilon"): break
        case (let path, let prediction):
            throw AdapterFormatError.notADiT(
                file: file.path, field: "prediction", value: "\(prediction) on the path \(path)", wanted: "velocity on the path linear, or noise")
        }
        return card
    }
}
