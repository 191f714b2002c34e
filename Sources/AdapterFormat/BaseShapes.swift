import TensorFiles

/// What shapes cannot say of a network; any of it may be missing.
struct BaseFields: Decodable {
    var inputSize: Int?
    var numHeads: Int?

    enum CodingKeys: String, CodingKey {
        case inputSize = "input_size"
        case numHeads = "num_heads"
    }
}

/// The configuration that a base file's shapes imply, with the fields of its `config` for what shapes cannot say.
struct BaseShapes {
    let file: TensorFile
    let fields: BaseFields

    private func shape(_ name: String, rank: Int) throws(AdapterFormatError) -> [Int] {
        guard let entry = file[name] else { throw .missingTensor(file: file.path, name: name, shape: Array(repeating: -1, count: rank)) }
        guard entry.shape.count == rank, entry.shape.allSatisfy({ $0 > 0 }) else {
            throw .inconsistentShapes(file: file.path, reason: "'\(name)' has shape \(entry.shape), not \(rank) sides above 0")
        }
        return entry.shape
    }

    func configuration(heads given: Int?) throws(AdapterFormatError) -> DiTConfiguration {
        let embedder = try shape("x_embedder.proj.weight", rank: 4)
        let (width, channels, patch) = (embedder[0], embedder[1], embedder[2])
        let classRows = try shape(TunableLayout.classTableName, rank: 2)[0]
        guard width % 4 == 0 else {
            throw .inconsistentShapes(file: file.path, reason: "the width \(width) is no multiple of 4, as the positions' sines and cosines want it")
        }
        let last = try shape("final_layer.linear.weight", rank: 2)[0]
        let outChannels = last / (patch * patch)
        guard last == outChannels * patch * patch, outChannels == channels || outChannels == 2 * channels else {
            throw .inconsistentShapes(file: file.path, reason: "the final layer has \(last) outputs for \(channels) channels and patches of \(patch)")
        }
        let blocks = file.entries.compactMap { entry in
            entry.name.hasPrefix("blocks.") ? Int(entry.name.dropFirst(7).prefix { $0 != "." }) : nil
        }
        // A block index can be no larger than the count of tensors: a huge one must not make a huge layout.
        guard let deepest = blocks.max(), (0..<file.entries.count).contains(deepest) else {
            throw .inconsistentShapes(file: file.path, reason: "there are no blocks 0, 1, 2, ...")
        }
        let published = DiTConfiguration.publishedHeads(width: width, depth: deepest + 1)
        guard let heads = given ?? fields.numHeads ?? published else { throw .noHeadCount(file: file.path, width: width) }
        guard heads > 0, width % heads == 0 else { throw .headsDoNotDivide(heads: heads, width: width) }
        return DiTConfiguration(
            inputSize: try inputSize(patch: patch), patchSize: patch, inChannels: channels, hiddenSize: width, depth: deepest + 1,
            numHeads: heads, numClasses: classRows - 1, learnSigma: outChannels == 2 * channels)
    }

    /// From the table of positions, or from the metadata where the file has none; both must agree.
    private func inputSize(patch: Int) throws(AdapterFormatError) -> Int {
        let stated = fields.inputSize
        guard file[BaseFile.positionsName] != nil else {
            guard let stated, stated > 0, stated % patch == 0, stated <= 4096 else {
                throw .badMetadata(file: file.path, key: "config", reason: "without '\(BaseFile.positionsName)', input_size must be a multiple of the patch size \(patch)")
            }
            return stated
        }
        let tokens = try shape(BaseFile.positionsName, rank: 3)[1]
        let side = Int(Double(tokens).squareRoot().rounded())
        guard side * side == tokens, stated == nil || stated == side * patch else {
            throw .inconsistentShapes(file: file.path, reason: "\(tokens) positions are not a square of \(stated.map { "\($0) / \(patch)" } ?? "whole") patches")
        }
        return side * patch
    }
}
