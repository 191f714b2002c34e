import TensorMath

/// A plan with its memory, ready to run; not for two callers at a time.
final class AutoencoderPass {
    let input, output: FeatureShape
    private let layers: [any AutoencoderLayer]
    private let space: Workspace

    init(_ plan: NetworkPlan, input: FeatureShape, _ configuration: AutoencoderConfiguration, pool: ThreadPool) {
        self.input = input
        output = plan.shape
        layers = plan.layers
        space = Workspace(plan.needs, groups: configuration.normNumGroups, pool: pool, element: plan.kind.element)
    }

    /// - Parameters:
    ///   - x: (C, H, W) as arrays keep images, each value times `factor` plus `offset` on its way in.
    /// - Returns: (C, H, W).
    func run(_ x: Span<Float>, times factor: Float, plus offset: Float) -> [Float] {
        var feature = space.take(input, atFront: true)
        let pixels = input.height * input.width, channels = input.channels
        feature.values.withMutableSpan { values in
            for pixel in 0..<pixels {
                for channel in 0..<channels { values[pixel * channels + channel] = x[channel * pixels + pixel] * factor + offset }
            }
        }
        for layer in layers { feature = layer.forward(feature, space) }
        let (outPixels, outChannels) = (feature.values.rows, feature.channels)
        var image = [Float](repeating: 0, count: outPixels * outChannels)
        feature.values.withSpan { values in
            for channel in 0..<outChannels {
                for pixel in 0..<outPixels { image[channel * outPixels + pixel] = values[pixel * outChannels + channel] }
            }
        }
        return image
    }
}
