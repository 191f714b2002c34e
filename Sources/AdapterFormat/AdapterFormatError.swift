/// Why a base or an adapter file is refused, with the name and shape at fault (law 2).
package enum AdapterFormatError: Error, Equatable, CustomStringConvertible {
    case missingTensor(file: String, name: String, shape: [Int])
    case unknownTensor(file: String, name: String)
    case wrongShape(file: String, name: String, shape: [Int], expected: [Int])
    case notFinite(file: String, name: String)
    case badMetadata(file: String, key: String, reason: String)
    case noHeadCount(file: String, width: Int)
    case headsDoNotDivide(heads: Int, width: Int)
    case inconsistentShapes(file: String, reason: String)
    case otherPositions(file: String, largest: Float)
    case differingCopies(file: String, name: String, block: Int)
    case notADiT(file: String, field: String, value: String, wanted: String)
    case notDiffusers(base: String, reason: String)
    case badJSON(file: String, reason: String)
    case notAModel(file: String, missing: String, beginnings: [String], kind: String?)
    case quantised(file: String, name: String, how: String)
    case noInputSize(file: String, patch: Int)
    case classCount(file: String, rows: Int, classes: Int)
    case otherMethod(file: String, what: String)
    case noScale(file: String)
    case otherScale(file: String, layer: String, stated: String, given: String)
    case noPairPlace(file: String, layer: String)
    case halfPair(file: String, layer: String, missing: String)
    case movedMatrix(file: String, name: String)
    case noForm(adapter: String, form: String, reason: String)
    case otherMatrix(file: String, name: String, base: String)
    case otherBase(file: String, base: String, expected: String)
    case denseBase(file: String, base: String, sparse: String)
    case notTwoOfFour(file: String, name: String)
    case noPattern(base: String, reason: String)
    case otherLayout(file: String, layout: String, expected: String)
    case otherContent(file: String, digest: String, named: String)
    case noTrainableSet(file: String, missing: String, beginnings: [String])
    case badName(String)
    case badReference(String)

    package var description: String {
        switch self {
        case .missingTensor(let file, let name, []): "'\(file)' has no tensor '\(name)'"
        case .missingTensor(let file, let name, let shape): "'\(file)' has no tensor '\(name)' of shape \(shape)"
        case .unknownTensor(let file, let name): "'\(file)' has a tensor '\(name)', which has no place here; nothing is skipped silently"
        case .wrongShape(let file, let name, let shape, let expected): "tensor '\(name)' in '\(file)' has shape \(shape); the base wants \(expected)"
        case .notFinite(let file, let name): "tensor '\(name)' in '\(file)' holds a value that is not a finite number"
        case .badMetadata(let file, let key, let reason): "the metadata '\(key)' of '\(file)' cannot be used: \(reason)"
        case .noHeadCount(let file, let width): "'\(file)' does not say how many attention heads share its width of \(width): give --heads"
        case .headsDoNotDivide(let heads, let width): "\(heads) attention heads do not divide a width of \(width)"
        case .inconsistentShapes(let file, let reason): "the shapes in '\(file)' are not those of a DiT: \(reason)"
        case .otherPositions(let file, let largest):
            "the positions in '\(file)' differ from the sine-cosine table by up to \(largest); this network computes that table"
        case .differingCopies(let file, let name, let block):
            "block \(block) of '\(file)' has another '\(name)' than block 0: fine-tuned in diffusers with one per block, it is another network than a DiT"
        case .notADiT(let file, let field, let value, let wanted): "'\(field)' in '\(file)' is '\(value)'; a DiT has \(wanted)"
        case .notDiffusers(let base, let reason): "diffusers has no form for the base \(base): \(reason)"
        case .badJSON(let file, let reason): "'\(file)' cannot be used: \(reason)"
        case .notAModel(let file, let missing, let beginnings, let kind):
            "'\(file)' is \(kind ?? "no DiT"): it has no '\(missing)'; its names begin with \(beginnings.map { "'\($0)'" }.joined(separator: ", ")), those of a DiT "
                + "with 'x_embedder', 't_embedder', 'y_embedder', 'blocks' and 'final_layer', or in diffusers 'pos_embed', 'transformer_blocks' and 'proj_out_1'"
        case .quantised(let file, let name, let how):
            "'\(file)' is quantised (\(how): it has '\(name)'), and its numbers mean nothing without that program: give the weights as they were before"
        case .noInputSize(let file, let patch):
            "'\(file)' has no table of positions and does not say how large its input is: give --input-size, a multiple of its patch size \(patch) "
                + "(32 for a DiT of 256 pixels, 64 for 512)"
        case .classCount(let file, let rows, let classes):
            "the class table in '\(file)' has \(rows, "row"); \(classes, "class") have \(classes), or \(classes + 1) with the row of no class: give --classes"
        case .otherMethod(let file, let what): "'\(file)' \(what)"
        case .noScale(let file):
            "'\(file)' does not say how its pairs are scaled, which no shape shows: give its training's --lora-alpha, or the factor itself as "
                + "--lora-scale (alpha / rank; 1 where alpha was the rank)"
        case .otherScale(let file, let layer, let stated, let given): "'\(file)' scales '\(layer)' by \(stated), not by \(given) as was given"
        case .noPairPlace(let file, let layer):
            "'\(file)' has a pair for '\(layer)'; pairs stand beside attn.qkv, attn.proj, mlp.fc1 and mlp.fc2 of the base's blocks (in diffusers to_q, to_k, "
                + "to_v, to_out.0, ff.net.0.proj, ff.net.2), and nothing is skipped silently"
        case .halfPair(let file, let layer, let missing): "the pair of '\(layer)' in '\(file)' has no \(missing)"
        case .movedMatrix(let file, let name):
            "'\(file)' moves the matrix '\(name)' itself, which no adapter here holds: train it as full, or without modules_to_save"
        case .noForm(let adapter, let form, let reason): "\(form) has no form for '\(adapter)': \(reason)"
        case .otherMatrix(let file, let name, let base):
            "the frozen matrix '\(name)' in '\(file)' is not that of the base \(base): the file belongs to another base"
        case .otherBase(let file, let base, let expected): "'\(file)' was trained on the base \(base), not on \(expected)"
        case .denseBase(let file, let base, let sparse): BaseFile.denseRefusal(of: file, base: base, sparse: sparse)
        case .notTwoOfFour(let file, let name):
            "'\(file)' is 2:4 sparse, or says so, but '\(name)' has four neighbouring weights of which more than two are not zero"
        case .noPattern(let base, let reason): "the base \(base) cannot be made 2:4 sparse: \(reason)"
        case .otherLayout(let file, let layout, let expected): "'\(file)' is for the layout \(layout), not \(expected)"
        case .otherContent(let file, let digest, let named): "the content of '\(file)' has the digest \(digest), not \(named) as the file says: it is damaged"
        case .noTrainableSet(let file, let missing, let beginnings):
            "the tensors of '\(file)' are no trainable set: '\(missing)' is missing; its names begin with \(beginnings.map { "'\($0)'" }.joined(separator: ", "))"
        case .badName(let name):
            "'\(name)' is no adapter name: 1 to 64 of a-z, 0-9, '.', '_', '-', a letter or digit first, and not 'base'" + Self.suggestion(name)
        case .badReference(let text): "'\(text)' is no reference: give a name, a digest, four or more of its first digits, or name@digest"
        }
    }

    /// The name that was probably meant, where there is one.
    private static func suggestion(_ name: String) -> String {
        let near = String(name.lowercased().map { $0.isWhitespace ? "-" : $0 })
        return AdapterName.isValid(near) ? "; '\(near)' would be one" : ""
    }
}
