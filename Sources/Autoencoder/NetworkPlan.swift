import Foundation
import TensorMath

/// A network's layers for images of one size, laid out one after the other while their weights are read, and the memory they need.
package struct NetworkPlan {
    private(set) var layers: [any AutoencoderLayer] = []
    /// How values become what the first layer reads.
    let entry: ValueMap
    /// Channels are normed in so many groups.
    let groups: Int
    let input: FeatureShape
    /// What the next layer reads.
    private(set) var shape: FeatureShape
    private(set) var needs = WorkspaceNeeds()
    private let tensors: AutoencoderTensors
    let form: WeightForm

    /// - Parameter groups: of every norm; a network without norms has one.
    init(_ tensors: AutoencoderTensors, input: FeatureShape, entry: ValueMap = ValueMap(), groups: Int = 1, _ form: WeightForm) {
        self.tensors = tensors
        self.form = form
        self.input = input
        self.entry = entry
        self.groups = groups
        shape = input
        needs.include(activations: input)
    }

    /// A convolution.
    /// - Parameters:
    ///   - border: of zeros above and on the left; nil keeps the image's size, or reads beyond it on the right and below alone at stride 2.
    ///   - normed: names the norm before it.
    ///   - isMeasured: whether a norm follows; `isRectified`: whether a ReLU does.
    ///   - result: what becomes of its values in place of themselves.
    mutating func convolution(
        _ name: String, _ channels: Int, kernel: Int = 3, stride: Int = 1, border: Int? = nil, normed: String? = nil, isMeasured: Bool = true,
        isRectified: Bool = false, result: ValueMap = ValueMap()
    ) throws {
        let layer = try convolutionLayer(name, on: shape, channels, kernel: kernel, stride: stride, border: border, result: result)
        layers.append(SingleConvolution(norm: try normed.map(norm), convolution: layer, isMeasured: isMeasured, isRectified: isRectified))
        needs.include(activations: shape, layer.output)
        shape = layer.output
    }

    mutating func resnet(_ name: String, _ channels: Int) throws {
        let conv1 = try convolutionLayer(name + ".conv1", on: shape, channels)
        let block = ResnetBlock(
            norm1: try norm(name + ".norm1"), norm2: try norm(name + ".norm2"), conv1: conv1,
            conv2: try convolutionLayer(name + ".conv2", on: conv1.output, channels, adds: true),
            convShortcut: channels == shape.channels ? nil : try convolutionLayer(name + ".conv_shortcut", on: shape, channels, kernel: 1))
        layers.append(block)
        needs.include(activations: shape, conv1.output)
        if channels != shape.channels { needs.include(activations: shape, conv1.output, conv1.output) }
        shape = conv1.output
    }

    mutating func attention(_ name: String) throws {
        let linear = { (plan: inout NetworkPlan, part: String, adds: Bool) throws in
            try plan.convolutionLayer(name + part, on: plan.shape, plan.shape.channels, kernel: 1, adds: adds)
        }
        layers.append(
            MidAttention(
                groupNorm: try norm(name + ".group_norm"), toQ: try linear(&self, ".to_q", false),
                toK: try linear(&self, ".to_k", false), toV: try linear(&self, ".to_v", false), toOut: try linear(&self, ".to_out.0", true)))
        needs.include(activations: shape, shape, shape, shape)
        needs.scratch = max(needs.scratch, MidAttention.queries * shape.height * shape.width)
    }

    mutating func tinyBlock(_ name: String) throws {
        let channels = shape.channels
        let conv0 = try convolutionLayer(name + ".conv.0", on: shape, channels), conv2 = try convolutionLayer(name + ".conv.2", on: shape, channels)
        layers.append(TinyBlock(conv0: conv0, conv2: conv2, conv4: try convolutionLayer(name + ".conv.4", on: shape, channels, adds: true)))
        needs.include(activations: shape, shape, shape)
    }

    /// Two resnets with the attention between them.
    mutating func midBlock(_ name: String, _ configuration: AutoencoderConfiguration) throws {
        try resnet(name + ".resnets.0", shape.channels)
        if configuration.hasMidAttention { try attention(name + ".attentions.0") }
        try resnet(name + ".resnets.1", shape.channels)
    }

    /// - Parameter isMeasured: whether a norm follows.
    mutating func upsample(_ name: String, isMeasured: Bool = true) throws {
        let layer = Upsample(try weights(name, shape.channels), on: shape, isMeasured: isMeasured, &needs, form)
        layers.append(layer)
        shape = FeatureShape(height: 2 * shape.height, width: 2 * shape.width, channels: shape.channels)
    }

    /// Whether the network has the layer; some leave `quant_conv` out.
    func has(_ name: String) -> Bool { tensors.shape(name + ".weight") != nil }

    private mutating func convolutionLayer(
        _ name: String, on input: FeatureShape, _ channels: Int, kernel: Int = 3, stride: Int = 1, border: Int? = nil, adds: Bool = false,
        result: ValueMap = ValueMap()
    ) throws -> ConvolutionLayer {
        ConvolutionLayer(
            try weights(name, channels, kernel: kernel, result: result), on: input, stride: stride, border: border ?? (stride == 1 ? kernel / 2 : 0),
            adds: adds, &needs, form)
    }

    /// A convolution that has no bias adds nothing.
    private func weights(_ name: String, _ channels: Int, kernel: Int = 3, result: ValueMap = ValueMap()) throws -> LayerWeights {
        let hasBias = tensors.shape(name + ".bias") != nil
        let weight = try tensors.values(name + ".weight"), bias = try hasBias ? tensors.values(name + ".bias") : [Float](repeating: 0, count: channels)
        return LayerWeights(
            weight: result.factor == 1 ? weight : weight.map { $0 * result.factor }, bias: bias.map { $0 * result.factor + result.offset },
            outChannels: channels, kernel: kernel)
    }

    private func norm(_ name: String) throws -> GroupNorm {
        GroupNorm(weight: try tensors.values(name + ".weight"), bias: try tensors.values(name + ".bias"))
    }
}

/// v * factor + offset, which a limit then holds within -limit...limit by limit tanh(v / limit).
struct ValueMap: Sendable, Hashable {
    var factor: Float = 1
    var offset: Float = 0
    /// Of the way in alone.
    var limit: Float?

    func callAsFunction(_ value: Float) -> Float {
        let moved = value * factor + offset
        guard let limit else { return moved }
        return tanh(moved / limit) * limit
    }
}
