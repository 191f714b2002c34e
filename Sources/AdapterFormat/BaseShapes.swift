import TensorFiles

/// What shapes cannot say of a network; any of it may be missing.
struct BaseFields: Decodable {
    var inputSize: Int?
    var numHeads: Int?
    /// Real classes: as many as the class table has rows, or one fewer.
    var numClasses: Int?

    enum CodingKeys: String, CodingKey {
        case inputSize = "input_size"
        case numHeads = "num_heads"
        case numClasses = "num_classes"
    }

    init() {}

    init(inputSize: Int?, numHeads: Int?) { (self.inputSize, self.numHeads) = (inputSize, numHeads) }

    /// What a training script's arguments say of the network that it made (`DiT.md`, "Containers"). They may be of an
    /// earlier stage, so the class count is taken only where it fits the table's rows.
    init(arguments: [String: String], classRows: Int?) {
        func number(_ name: String) -> Int? { arguments[name].flatMap { Int($0) } }
        inputSize = number("input_size") ?? number("image_size").flatMap { $0.isMultiple(of: 8) ? $0 / 8 : nil }
        numHeads = number("num_heads") ?? arguments["model"].flatMap { DiTConfiguration.preset($0)?.numHeads }
        guard let classRows else { return }
        let stated = number("num_classes") ?? number("nclass")
        if let stated, [classRows, classRows - 1].contains(stated) {
            numClasses = stated
        } else if let dropout = arguments["class_dropout_prob"].flatMap({ Double($0) }) {
            numClasses = dropout > 0 ? classRows - 1 : classRows
        }
    }

    /// This, completed by what another source says.
    func completed(by other: BaseFields) -> BaseFields {
        var fields = self
        fields.inputSize = inputSize ?? other.inputSize
        fields.numHeads = numHeads ?? other.numHeads
        fields.numClasses = numClasses ?? other.numClasses
        return fields
    }
}

/// The configuration that a base file's shapes imply, with the fields of its `config` for what shapes cannot say.
struct BaseShapes {
    let file: TensorFile
    let fields: BaseFields

    private func shape(_ name: String, rank: Int) throws(AdapterFormatError) -> [Int] {
        guard let entry = file[name] else { throw .notAModel(file: file.path, missing: name, beginnings: Array(file.beginnings.prefix(6)), kind: file.kind) }
        guard entry.shape.count == rank, entry.shape.allSatisfy({ $0 > 0 }) else {
            throw .inconsistentShapes(file: file.path, reason: "'\(name)' has shape \(entry.shape), not \(rank) sides above 0")
        }
        return entry.shape
    }

    /// - Parameters: what the caller knows better than the file: heads, side of the input, real classes.
    func configuration(heads given: Int?, inputSize side: Int? = nil, classes: Int? = nil) throws(AdapterFormatError) -> DiTConfiguration {
        if let name = file.entries.first(where: { TensorFile.quantisation(of: $0.name) != nil })?.name, let how = TensorFile.quantisation(of: name) {
            throw .quantised(file: file.path, name: name, how: how)
        }
        let embedder = try shape("x_embedder.proj.weight", rank: 4)
        let (width, channels, patch) = (embedder[0], embedder[1], embedder[2])
        let classRows = try shape(TunableLayout.classTableName, rank: 2)[0]
        guard width % 4 == 0 else {
            throw .inconsistentShapes(file: file.path, reason: "the width \(width) is no multiple of 4, as the positions' sines and cosines want it")
        }
        let last = try shape("final_layer.linear.weight", rank: 2)[0]
        let outChannels = last / (patch * patch)
        guard last == outChannels * patch * patch, outChannels == channels || outChannels == 2 * channels else {
            throw .inconsistentShapes(file: file.path, reason: "the final layer has \(last, "output") for \(channels, "channel") and patches of \(patch)")
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
        // A table of one row is a network's without classes: the one row is all that it was trained with.
        let count = classes ?? fields.numClasses ?? (classRows == 1 ? 1 : classRows - 1)
        guard count > 0, [classRows, classRows - 1].contains(count) else { throw .classCount(file: file.path, rows: classRows, classes: count) }
        var configuration = DiTConfiguration(
            inputSize: try inputSize(patch: patch, given: side), patchSize: patch, inChannels: channels, hiddenSize: width, depth: deepest + 1,
            numHeads: heads, numClasses: count, learnSigma: outChannels == 2 * channels)
        configuration.hasNullRow = count < classRows
        return configuration
    }

    /// From the table of positions, or from what was said where the file has none; both must agree.
    private func inputSize(patch: Int, given: Int?) throws(AdapterFormatError) -> Int {
        guard file[BaseFile.positionsName] != nil else {
            guard let side = given ?? fields.inputSize else { throw .noInputSize(file: file.path, patch: patch) }
            guard side > 0, side % patch == 0, side <= 4096 else {
                throw .inconsistentShapes(file: file.path, reason: "the size of its input is a multiple of the patch size \(patch) up to 4096, not \(side)")
            }
            return side
        }
        let tokens = try shape(BaseFile.positionsName, rank: 3)[1]
        let side = Int(Double(tokens).squareRoot().rounded()), stated = given ?? fields.inputSize
        guard side * side == tokens, stated == nil || stated == side * patch else {
            throw .inconsistentShapes(
                file: file.path, reason: "\(tokens) positions are not a square of \(stated.map { "\($0) / \(patch)" } ?? "whole") patches")
        }
        return side * patch
    }
}

extension ClassTable {
    /// What is taken of a table that nothing describes, in a sentence for its user.
    static func assumption(file: String, rows: Int) -> String {
        "'\(file)' does not say how many classes its table of \(rows, "row") has: taken as \(rows - 1, "class") and the null row; give --classes \(rows) if every row is a class"
    }
}

extension TensorFile {
    /// What a file of other names is, where they tell.
    var kind: String? {
        if metadata[AdapterFile.manifestKey] != nil { return "an adapter: take it in with 'adapterctl add'" }
        if entries.contains(where: { LowRankNames.isLowRank($0.name) }) { return "a low-rank adapter: take it in with 'adapterctl add'" }
        let heads = Set(beginnings)
        let known: [(Set<String>, String)] = [
            (["down_blocks", "up_blocks"], "a U-Net"), (["input_blocks", "output_blocks"], "a U-Net"),
            (["encoder", "decoder"], "an autoencoder: give it with --vae"),
            (["first_stage_model"], "an autoencoder: give it with --vae"), (["double_blocks"], "a FLUX transformer"), (["joint_blocks"], "an SD3 transformer"),
            (["adaln_single"], "a PixArt transformer"), (["text_model"], "a text encoder"),
        ]
        return known.first { $0.0.isSubset(of: heads) }?.1
    }

    /// How a tensor of this name was quantised by other software; nil where nothing shows it.
    static func quantisation(of name: String) -> String? {
        let marks: [(String, String)] = [
            (".absmax", "bitsandbytes"), (".quant_map", "bitsandbytes"), (".quant_state.", "bitsandbytes"), (".SCB", "bitsandbytes"),
            (".weight_format", "bitsandbytes"),
            (".qweight", "GPTQ or AWQ"), (".qzeros", "GPTQ or AWQ"), (".g_idx", "GPTQ"), (".weight_scale", "eight-bit floats with scales"),
            (".scale_weight", "eight-bit floats with scales"), (".input_scale", "eight-bit floats with scales"), ("scaled_fp8", "eight-bit floats with scales"),
            ("._data", "quanto"), ("._scale", "quanto"), (".weight_zero_point", "torchao"),
        ]
        return marks.first { name.hasSuffix($0.0) || name.contains($0.0 + ".") || $0.0.hasSuffix(".") && name.contains($0.0) }?.1
    }
}

extension DiTConfiguration {
    /// Name and shape of every matrix that stays frozen, in the reference's state-dict order (`DiT.md`, "Tensors").
    package var frozenTensors: [TensorShape] {
        let D = hiddenSize
        var tensors = [
            TensorShape("x_embedder.proj.weight", [D, inChannels, patchSize, patchSize]), TensorShape("t_embedder.mlp.0.weight", [D, 256]),
            TensorShape("t_embedder.mlp.2.weight", [D, D]),
        ]
        for block in 0..<depth {
            tensors += LowRank.Linear.allCases.map { TensorShape($0.name(block: block) + ".weight", [$0.outputs(self), $0.inputs(self)]) }
            tensors.append(TensorShape("blocks.\(block).adaLN_modulation.1.weight", [6 * D, D]))
        }
        tensors += [
            TensorShape("final_layer.adaLN_modulation.1.weight", [2 * D, D]), TensorShape("final_layer.linear.weight", [patchOutSize, D]),
        ]
        return tensors
    }
}
