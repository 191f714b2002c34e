import Foundation
import TensorFiles
import TensorMath

/// An AutoencoderTiny of diffusers, as TAESD is published: plain convolutions and ReLU, images of 3 channels to latents of 4, 16 or more
/// and back (`DiT.md`, "Tiny autoencoder").
package struct AutoencoderTiny: ImageAutoencoder {
    package let file: TensorFile
    package let configuration: AutoencoderTinyConfiguration
    private let tensors: AutoencoderTensors

    private static let mark = "decoder.layers.0.weight"

    package static func isHeld(by file: TensorFile) -> Bool {
        AutoencoderTensors.name(endingIn: mark, in: file) != nil && AutoencoderTensors.name(endingIn: AutoencoderTensors.markOfKL, in: file) == nil
    }

    /// - Parameter file: safetensors in diffusers' names. What its tensors do not show is taken from its metadata's `config` or the
    ///   `config.json` beside it, else from the class's defaults.
    /// - Throws: `TensorFileError`, `AutoencoderError`.
    package init(file: TensorFile) throws {
        self.file = file
        tensors = try AutoencoderTensors(file, mark: Self.mark)
        configuration = try AutoencoderTinyConfiguration(tensors, AutoencoderTinyFields(file))
        try tensors.check(configuration.tensorShapes)
        try format.checkImages(file.path)
    }

    package init(path: String) throws { try self.init(file: TensorFile(path: path)) }

    package var format: LatentFormat { configuration.format }
    package var hasEncoder: Bool { configuration.encoder != nil }

    package func decoderPlan(on latent: FeatureShape, _ form: WeightForm) throws -> NetworkPlan {
        let c = configuration
        let entry = ValueMap(factor: 1 / c.scalingFactor, offset: c.shiftFactor, limit: AutoencoderTinyConfiguration.latentLimit)
        var plan = NetworkPlan(tensors, input: latent, entry: entry, form)
        for layer in c.decoder.layers(isEncoder: false) {
            let name = "decoder.layers.\(layer.index)"
            switch layer.kind {
            case .first: try plan.convolution(name, c.decoder.channels, isMeasured: false, isRectified: true)
            case .block: try plan.tinyBlock(name)
            case .between: try plan.upsample(name, isMeasured: false)
            // From 0...1 to -1...1.
            case .last: try plan.convolution(name, c.outChannels, isMeasured: false, result: ValueMap(factor: 2, offset: -1))
            }
        }
        return plan
    }

    package func encoderPlan(on image: FeatureShape, _ form: WeightForm) throws -> NetworkPlan {
        let c = configuration
        guard let encoder = c.encoder else { throw AutoencoderError.missingTensor(file: file.path, name: "encoder.layers.0.weight", shape: []) }
        // From -1...1 to 0...1.
        var plan = NetworkPlan(tensors, input: image, entry: ValueMap(factor: 0.5, offset: 0.5), form)
        for layer in encoder.layers(isEncoder: true) {
            let name = "encoder.layers.\(layer.index)"
            switch layer.kind {
            case .first: try plan.convolution(name, encoder.channels, isMeasured: false)
            case .block: try plan.tinyBlock(name)
            case .between: try plan.convolution(name, encoder.channels, stride: 2, border: 1, isMeasured: false)
            case .last: try plan.convolution(name, c.latentChannels, isMeasured: false)
            }
        }
        return plan
    }
}

/// The shape of one AutoencoderTiny.
package struct AutoencoderTinyConfiguration: Sendable, Hashable {
    /// One way through the network: every level has the same channels.
    package struct Half: Sendable, Hashable {
        package var channels: Int
        /// Blocks of each level, the first that is computed first.
        package var blocks: [Int]

        package init(channels: Int, blocks: [Int]) { (self.channels, self.blocks) = (channels, blocks) }
    }

    package var inChannels = 3, outChannels = 3
    package var latentChannels: Int
    /// nil where the file has none.
    package var encoder: Half?
    package var decoder: Half
    package var scalingFactor: Float = 1
    package var shiftFactor: Float = 0

    /// The decoder first holds latents within these bounds, by 3 tanh(x / 3).
    static let latentLimit: Float = 3

    /// More would make a picture of thousands of pixels of one latent pixel.
    private static let mostLevels = 12

    /// TAESD's own.
    package static let taesd = AutoencoderTinyConfiguration(
        latentChannels: 4, encoder: Half(channels: 64, blocks: [1, 3, 3, 3]), decoder: Half(channels: 64, blocks: [3, 3, 3, 1]))

    var format: LatentFormat {
        LatentFormat(
            inChannels: inChannels, outChannels: outChannels, latentChannels: latentChannels, downsampling: 1 << (decoder.blocks.count - 1),
            scalingFactor: scalingFactor, shiftFactor: shiftFactor)
    }

    /// Every tensor of the network.
    package var tensorShapes: [TensorShape] {
        var list: [TensorShape] = []
        func convolution(_ name: String, _ from: Int, _ to: Int, hasBias: Bool = true) {
            list.append(TensorShape(name + ".weight", [to, from, 3, 3]))
            if hasBias { list.append(TensorShape(name + ".bias", [to])) }
        }
        func add(_ half: Half, _ part: String, from: Int, to: Int) {
            for layer in half.layers(isEncoder: part == "encoder") {
                let name = "\(part).layers.\(layer.index)"
                switch layer.kind {
                case .first: convolution(name, from, half.channels)
                case .block: for number in [0, 2, 4] { convolution("\(name).conv.\(number)", half.channels, half.channels) }
                case .between: convolution(name, half.channels, half.channels, hasBias: false)
                case .last: convolution(name, half.channels, to)
                }
            }
        }
        if let encoder { add(encoder, "encoder", from: inChannels, to: latentChannels) }
        add(decoder, "decoder", from: latentChannels, to: outChannels)
        return list
    }
}

extension AutoencoderTinyConfiguration.Half {
    var levelChannels: [Int] { blocks.map { _ in channels } }

    /// A layer that has weights, by its place in the file's sequence, where activations and upsampling have numbers too.
    struct Layer {
        enum Kind {
            case first, block
            /// From a level to the next.
            case between
            case last
        }

        let index: Int
        let kind: Kind
    }

    func layers(isEncoder: Bool) -> [Layer] {
        var list = [Layer(index: 0, kind: .first)]
        // A ReLU follows the decoder's first convolution, and goes without a number of its own in the encoder.
        var index = isEncoder ? 1 : 2
        for (level, count) in blocks.enumerated() {
            if level > 0 {
                list.append(Layer(index: isEncoder ? index : index + 1, kind: .between))
                index += isEncoder ? 1 : 2
            }
            list += (0..<count).map { Layer(index: index + $0, kind: .block) }
            index += count
        }
        return list + [Layer(index: index, kind: .last)]
    }

    /// What the numbers of the tensors show; what they show wrongly, `AutoencoderTensors.check` finds.
    init(_ tensors: AutoencoderTensors, _ part: String) throws(AutoencoderError) {
        let name = { (index: Int, end: String) in "\(part).layers.\(index)\(end).weight" }
        guard let first = tensors.shape(name(0, "")), first.count == 4, !first.contains(0), let last = tensors.lastNumber("\(part).layers.") else {
            throw .missingTensor(file: tensors.file.path, name: name(0, ""), shape: [])
        }
        channels = first[0]
        blocks = [0]
        let isEncoder = part == "encoder"
        var index = isEncoder ? 1 : 2
        while index < last {
            if tensors.shape(name(index, ".conv.0")) != nil {
                blocks[blocks.count - 1] += 1
                index += 1
            } else {
                let between = isEncoder ? index : index + 1
                guard between < last, tensors.shape(name(between, "")) != nil else {
                    throw .missingTensor(file: tensors.file.path, name: name(index, ".conv.0"), shape: [channels, channels, 3, 3])
                }
                blocks.append(0)
                index = between + 1
            }
        }
    }
}

extension AutoencoderTinyConfiguration {
    /// What the tensors show, and the fields; a field that says other than the tensors is refused.
    init(_ tensors: AutoencoderTensors, _ fields: AutoencoderTinyFields) throws(AutoencoderError) {
        decoder = try Half(tensors, "decoder")
        encoder = try tensors.hasEncoder ? Half(tensors, "encoder") : nil
        let last = decoder.layers(isEncoder: false).last?.index ?? 0
        latentChannels = tensors.shape("decoder.layers.0.weight")?[1] ?? 0
        let end = tensors.shape("decoder.layers.\(last).weight")
        guard let end, end.count == 4 else { throw .missingTensor(file: tensors.file.path, name: "decoder.layers.\(last).weight", shape: []) }
        outChannels = end[0]
        inChannels = tensors.shape("encoder.layers.0.weight")?[1] ?? outChannels
        guard decoder.blocks.count <= Self.mostLevels else {
            throw .unsupported(file: tensors.file.path, field: "num_decoder_blocks", value: "\(decoder.blocks)", wanted: "a list of at most \(Self.mostLevels)")
        }
        if let encoder, encoder.blocks.count != decoder.blocks.count {
            throw .unequalLevels(file: tensors.file.path, encoder: encoder.blocks.count, decoder: decoder.blocks.count)
        }
        scalingFactor = fields.scalingFactor ?? scalingFactor
        shiftFactor = fields.shiftFactor ?? shiftFactor
        try fields.check(self, tensors.file.path)
    }
}

/// The fields of an AutoencoderTiny's config.json; each may be missing or null, and then is the class's default.
///
/// `latent_magnitude` and `latent_shift` take no part in either way: diffusers uses them only to keep latents as bytes.
struct AutoencoderTinyFields: Decodable {
    var className, actFn, upsampleFn: String?
    var inChannels, outChannels, latentChannels, upsamplingScalingFactor: Int?
    var encoderBlockOutChannels, decoderBlockOutChannels, numEncoderBlocks, numDecoderBlocks: [Int]?
    var scalingFactor, shiftFactor: Float?

    enum CodingKeys: String, CodingKey {
        case className = "_class_name"
        case actFn = "act_fn"
        case upsampleFn = "upsample_fn"
        case inChannels = "in_channels"
        case outChannels = "out_channels"
        case latentChannels = "latent_channels"
        case upsamplingScalingFactor = "upsampling_scaling_factor"
        case encoderBlockOutChannels = "encoder_block_out_channels"
        case decoderBlockOutChannels = "decoder_block_out_channels"
        case numEncoderBlocks = "num_encoder_blocks"
        case numDecoderBlocks = "num_decoder_blocks"
        case scalingFactor = "scaling_factor"
        case shiftFactor = "shift_factor"
    }

    init(_ file: TensorFile) throws { self = try autoencoderFields(of: file) ?? Self() }

    private init() {}

    /// Refuses what is not computed here, and what the tensors contradict.
    func check(_ c: AutoencoderTinyConfiguration, _ file: String) throws(AutoencoderError) {
        let words = [("_class_name", className, "AutoencoderTiny"), ("act_fn", actFn?.lowercased(), "relu"), ("upsample_fn", upsampleFn, "nearest")]
        for case (let field, let value?, let wanted) in words where value != wanted {
            throw .unsupported(file: file, field: field, value: value, wanted: wanted)
        }
        if let factor = upsamplingScalingFactor, factor != 2 {
            throw .unsupported(file: file, field: "upsampling_scaling_factor", value: "\(factor)", wanted: "2")
        }
        let numbers = [
            ("in_channels", c.encoder == nil ? nil : inChannels, c.inChannels), ("out_channels", outChannels, c.outChannels),
            ("latent_channels", latentChannels, c.latentChannels),
        ]
        for case (let field, let value?, let found) in numbers where value != found {
            throw .contradiction(file: file, field: field, value: "\(value)", found: "\(found)")
        }
        let lists: [(String, [Int]?, [Int]?)] = [
            ("encoder_block_out_channels", encoderBlockOutChannels, c.encoder?.levelChannels),
            ("num_encoder_blocks", numEncoderBlocks, c.encoder?.blocks),
            ("decoder_block_out_channels", decoderBlockOutChannels, c.decoder.levelChannels),
            ("num_decoder_blocks", numDecoderBlocks, c.decoder.blocks),
        ]
        for case (let field, let value?, let found?) in lists where value != found {
            throw .contradiction(file: file, field: field, value: "\(value)", found: "\(found)")
        }
        guard c.scalingFactor.isFinite, c.scalingFactor > 0 else {
            throw .unsupported(file: file, field: "scaling_factor", value: "\(c.scalingFactor)", wanted: "a positive number")
        }
        guard c.shiftFactor.isFinite else {
            throw .unsupported(file: file, field: "shift_factor", value: "\(c.shiftFactor)", wanted: "a finite number")
        }
    }
}
