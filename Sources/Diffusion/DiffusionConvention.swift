/// How noise and data are mixed.
package enum DiffusionPath: String, Codable, Sendable, CaseIterable {
    /// DiT's: x_t = sqrt(abar_t) data + sqrt(1 - abar_t) noise, 1000 steps of plain linear beta; t counts 0 (data) to 999 (noise).
    case vp = "linear-vp"
    /// SiT's: x_t = t data + (1 - t) noise; t runs from 0 (noise) to 1 (data).
    case rectifiedFlow = "linear"

    package var predictions: [Prediction] {
        switch self {
        case .vp: [.epsilon]
        case .rectifiedFlow: [.velocity, .x0]
        }
    }

    /// The time at a share of the path, 0 (t = 0) to 1, as training draws it: whole steps on the VP path.
    package func time(atShare share: Double) -> Double {
        switch self {
        case .vp: min(Double(VPSchedule.trainingSteps) - 1, (share * Double(VPSchedule.trainingSteps)).rounded(.down))
        case .rectifiedFlow: share
        }
    }

    /// Weight of the noise in x_t at time t: 1 - t, or sqrt(1 - abar_t).
    package func noiseLevel(_ t: Double) -> Double {
        switch self {
        case .vp: (1 - VPSchedule.training.alphasCumprod[min(max(Int(t.rounded()), 0), VPSchedule.trainingSteps - 1)]).squareRoot()
        case .rectifiedFlow: 1 - t
        }
    }

    /// What the timestep embedder takes for one unit of t, where the base's card says nothing else.
    package var defaultTimeScale: Double {
        switch self {
        case .vp: 1
        case .rectifiedFlow: 1000
        }
    }
}

/// What the network's output stands for.
package enum Prediction: String, Codable, Sendable, CaseIterable {
    /// The noise.
    case epsilon
    /// dx/dt of rectified flow: data - noise.
    case velocity
    /// The data.
    case x0
}

/// What a base's card says about its diffusion; adapters inherit it.
package struct DiffusionConvention: Codable, Sendable, Hashable {
    package let path: DiffusionPath
    package let prediction: Prediction
    /// True where the second half of the output interpolates the log variance (DiT). Elsewhere a second half is ignored (SiT).
    package let learnsVariance: Bool
    package let timeScale: Double

    /// - Parameter timeScale: nil takes the path's own.
    package init(
        path: DiffusionPath, prediction: Prediction, learnsVariance: Bool = false, timeScale: Double? = nil
    ) throws(DiffusionError) {
        guard path.predictions.contains(prediction) else { throw .predictionOffPath(prediction, path) }
        guard path == .vp || !learnsVariance else { throw .learnedVarianceOffPath(path) }
        let scale = timeScale ?? path.defaultTimeScale
        guard scale > 0, scale.isFinite else { throw .timeScale(scale) }
        self.init(checked: path, prediction, learnsVariance, scale)
    }

    /// From the words of a base's card; a card with another word is refused by name.
    /// - Parameter learnSigma: whether the network has a second half of outputs; of rectified flow it is ignored.
    package init(pathNamed pathName: String, predictionNamed name: String, learnSigma: Bool, timeScale: Double) throws(DiffusionError) {
        guard let path = DiffusionPath(rawValue: pathName) else { throw .unknownWord(pathName, DiffusionPath.allCases.map(\.rawValue)) }
        guard let prediction = Prediction(rawValue: name) else { throw .unknownWord(name, Prediction.allCases.map(\.rawValue)) }
        try self.init(path: path, prediction: prediction, learnsVariance: learnSigma && path == .vp, timeScale: timeScale)
    }

    /// The released DiT models.
    package static let dit = DiffusionConvention(checked: .vp, .epsilon, true, DiffusionPath.vp.defaultTimeScale)

    private init(checked path: DiffusionPath, _ prediction: Prediction, _ learnsVariance: Bool, _ timeScale: Double) {
        self.path = path
        self.prediction = prediction
        self.learnsVariance = learnsVariance
        self.timeScale = timeScale
    }

    enum CodingKeys: String, CodingKey {
        case path, prediction
        case learnsVariance = "learns_variance"
        case timeScale = "time_scale"
    }

    package init(from decoder: any Decoder) throws {
        let card = try decoder.container(keyedBy: CodingKeys.self)
        try self.init(
            path: card.decode(DiffusionPath.self, forKey: .path), prediction: card.decode(Prediction.self, forKey: .prediction),
            learnsVariance: card.decodeIfPresent(Bool.self, forKey: .learnsVariance) ?? false,
            timeScale: card.decodeIfPresent(Double.self, forKey: .timeScale))
    }

    /// The time given to the network's timestep embedder at time t.
    package func embedderTime(_ t: Double) -> Float { Float(t * timeScale) }
}
