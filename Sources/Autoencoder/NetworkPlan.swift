import TensorMath

/// A network's layers for images of one size, laid out one after the other while their weights are read, and the memory they need.
struct NetworkPlan {
    private(set) var layers: [any AutoencoderLayer] = []
    /// What the next layer reads.
    private(set) var shape: FeatureShape
    private(set) var needs = WorkspaceNeeds()
    private let tensors: AutoencoderTensors
    let form: WeightForm

    init(_ tensors: AutoencoderTensors, input: FeatureShape, _ form: WeightForm) {
        self.tensors = tensors
        self.form = form
        shape = input
        needs.include(activations: input)
    }

    /// A convolution; `normed` names the norm before it, and `isMeasured` says whether one follows.
    mutating func convolution(_ name: String, _ channels: Int, kernel: Int = 3, stride: Int = 1, normed: String? = nil, isMeasured: Bool = true) throws {
        let layer = try convolutionLayer(name, on: shape, channels, kernel: kernel, stride: stride)
        layers.append(SingleConvolution(norm: try normed.map(norm), convolution: layer, isMeasured: isMeasured))
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

    /// Two resnets with the attention between them.
    mutating func midBlock(_ name: String, _ configuration: AutoencoderConfiguration) throws {
        try resnet(name + ".resnets.0", shape.channels)
        if configuration.hasMidAttention { try attention(name + ".attentions.0") }
        try resnet(name + ".resnets.1", shape.channels)
    }

    mutating func upsample(_ name: String) throws {
        let layer = Upsample(try weights(name, shape.channels), on: shape, &needs, form)
        layers.append(layer)
        shape = FeatureShape(height: 2 * shape.height, width: 2 * shape.width, channels: shape.channels)
    }

    /// Whether the network has the layer; some leave `quant_conv` out.
    func has(_ name: String) -> Bool { tensors.shape(name + ".weight") != nil }

    private mutating func convolutionLayer(
        _ name: String, on input: FeatureShape, _ channels: Int, kernel: Int = 3, stride: Int = 1, adds: Bool = false
    ) throws -> ConvolutionLayer {
        ConvolutionLayer(try weights(name, channels, kernel: kernel), on: input, stride: stride, adds: adds, &needs, form)
    }

    private func weights(_ name: String, _ channels: Int, kernel: Int = 3) throws -> LayerWeights {
        LayerWeights(
            weight: try tensors.values(name + ".weight"), bias: try tensors.values(name + ".bias"), outChannels: channels, kernel: kernel)
    }

    private func norm(_ name: String) throws -> GroupNorm {
        GroupNorm(weight: try tensors.values(name + ".weight"), bias: try tensors.values(name + ".bias"))
    }
}
