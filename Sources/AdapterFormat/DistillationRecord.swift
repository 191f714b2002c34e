/// What a vector stands for that was distilled from the guided sampling of domains (`DiffFit.md`, "Distilled vectors"): it holds no
/// classes of its own and is added to a domain.
package struct DistillationRecord: Sendable, Hashable, Codable {
    package enum Role: String, Sendable, Hashable, Codable {
        /// One row in place of a guided pair. The vector's weight is a dial of the guidance scale.
        case guidance
        /// A vector for each step of a sampler of few steps, guidance included.
        case steps
        /// What a sparse base lost against the dense one that it was made of. It is part of every adapter that was taken over through it.
        case recovery
    }

    /// A domain that it was distilled on.
    package struct Domain: Sendable, Hashable, Codable {
        package var name: String
        package var digest: Digest

        package init(name: String, digest: Digest) {
            self.name = name
            self.digest = digest
        }
    }

    /// A guidance scale, and how near the vector at the weight that stands for it comes to guidance itself.
    package struct DialPoint: Sendable, Hashable, Codable {
        package var scale: Double
        /// Median of the paired peak signal-to-noise ratio, in dB.
        package var psnr: Double

        package init(scale: Double, psnr: Double) {
            self.scale = scale
            self.psnr = psnr
        }
    }

    package var role: Role
    /// How it was learned: "regression" of a guidance vector, of step vectors the name of their objective.
    package var method: String
    package var domains: [Domain]
    /// The guidance that is folded in, as a request says it: kind, scale, and between which noise levels.
    package var guidance: String
    package var guidanceScale: Double
    package var guidanceInterval: [Double]
    /// Of a guidance vector: scales that its weight was measured to stand for, ascending.
    package var dial: [DialPoint]?
    /// Of step vectors: the times and coefficients that they are for.
    package var solver: SolverProfile?
    /// Median of the paired peak signal-to-noise ratio against the teacher over held-out images, in dB.
    package var psnr: Double?
    /// Of a recovery: the dense base.
    package var recovers: Digest?

    enum CodingKeys: String, CodingKey {
        case role, method, domains, guidance, dial, solver, psnr, recovers
        case guidanceScale = "guidance_scale"
        case guidanceInterval = "guidance_interval"
    }

    package init(
        role: Role, method: String, domains: [Domain], guidance: String, guidanceScale: Double, guidanceInterval: [Double], dial: [DialPoint]? = nil,
        solver: SolverProfile? = nil, psnr: Double? = nil
    ) {
        self.role = role
        self.method = method
        self.domains = domains
        self.guidance = guidance
        self.guidanceScale = guidanceScale
        self.guidanceInterval = guidanceInterval
        self.dial = dial
        self.solver = solver
        self.psnr = psnr
    }

    /// The guidance that it gives at a weight; nil of a recovery, which gives none.
    package func folded(weight: Double) -> FoldedGuidance? {
        role == .recovery ? nil : FoldedGuidance(kind: guidance, scale: 1 + weight * (guidanceScale - 1), interval: guidanceInterval)
    }

    /// Vectors, one for each step; nil where there is one for all.
    package var steps: Int? { role == .steps ? solver?.steps : nil }

    /// What keeps a record that comes from outside from being used.
    package var fault: String? {
        if guidanceInterval.count != 2 || guidanceInterval[0] > guidanceInterval[1] { return "its guidance_interval is not two noise levels" }
        switch role {
        case .guidance:
            guard guidanceScale > 1, guidanceScale.isFinite else { return "a guidance vector holds a guidance_scale above 1" }
            return dial?.allSatisfy { $0.scale >= 1 && $0.scale.isFinite } ?? true ? nil : "its dial holds no guidance scales"
        case .steps:
            guard let solver, solver.isWhole, (1...64).contains(solver.steps) else { return "step vectors need a solver of 1 to 64 steps" }
            return nil
        case .recovery: return recovers != nil && guidance == "none" ? nil : "a recovery names the dense base that it recovers, and holds no guidance"
        }
    }

    /// The part of it that changes numbers, for the adapter's identity.
    var identity: String {
        let solver = solver.map { "\($0.times) \($0.x) \($0.m) \($0.m1) \($0.startScale ?? 1) \($0.startShift ?? [])" } ?? ""
        return "\(role.rawValue) \(guidance) \(guidanceScale) \(guidanceInterval) \(solver)" + (recovers.map { " \($0)" } ?? "")
    }
}

/// Guidance that is in a vector's values, so that one row gives it and a second guidance would double it.
package struct FoldedGuidance: Sendable, Hashable, Codable {
    /// As a request says it: cfg or domain.
    package var kind: String
    package var scale: Double
    /// Noise levels between which it acts.
    package var interval: [Double]

    package init(kind: String, scale: Double, interval: [Double]) {
        self.kind = kind
        self.scale = scale
        self.interval = interval
    }

    /// What keeps a record that comes from outside from being used.
    var fault: String? {
        interval.count == 2 && interval[0] <= interval[1] && scale.isFinite ? nil : "its folded_guidance is not a scale between two noise levels"
    }
}

extension AdapterManifest {
    /// What is wrong with what it says of distilled values, in a file or a store from elsewhere; nil where nothing is.
    package var distillationFault: String? { distillation?.fault ?? foldedGuidance?.fault }

    /// "domain", or the role of a distilled vector.
    package var role: String { distillation?.role.rawValue ?? "domain" }
    /// Whether it has classes to make pictures of.
    package var isDomain: Bool { distillation == nil }
}

extension Adapter {
    /// The vector of one step of several as an adapter of its own; any other adapter as it is.
    /// - Parameter base: the base's own table.
    package func step(_ index: Int, over base: TunableLayout) -> Adapter {
        guard manifest.distillation?.steps != nil else { return self }
        var manifest = manifest
        manifest.distillation?.solver = nil
        manifest.golden = nil
        let layout = manifest.layout(over: base)
        manifest.layoutDigest = layout.digest
        return Adapter(
            manifest: manifest, vector: TunableVector(Array(vector.values[(index * layout.count)..<((index + 1) * layout.count)]), layout: layout),
            classes: classes)
    }
}

extension TunableLayout {
    /// The table of a vector for each step of a sampler, one after the other: "steps.2.blocks.0.attn.qkv.bias".
    package func repeated(steps: Int?) -> TunableLayout {
        guard let steps else { return self }
        let tensors = (0..<steps).flatMap { step in
            self.tensors.map {
                TunableTensor(
                    name: "steps.\(step).\($0.name)", kind: $0.kind, range: ($0.range.lowerBound + step * count)..<($0.range.upperBound + step * count),
                    shape: $0.shape, block: $0.block)
            }
        }
        return TunableLayout(configuration, tensors, lowRank: lowRank)
    }
}
