import ArgumentParser
import Diffusion
import SamplingEngine

/// What images are drawn away from.
struct GuidanceOptions: ParsableArguments {
    @Option(name: .customLong("guidance-scale"), help: "1 is no guidance (default: 3).") var givenScale: Float?
    @Option(
        name: .customLong("guidance"),
        help:
            "cfg (against the domain's null class), domain (against the frozen base's), distilled (in one row, where the store has a vector for it) or none (default: cfg)."
    )
    var givenKind: String?
    @Option(help: "Noise levels between which images are guided, from 0 (data) to 1 (noise), as in 0.1,0.8. The other steps cost one row.")
    var guidanceInterval: String?

    var guidanceScale: Float { givenScale ?? UsualSampling.guidanceScale }
    var guidance: String { givenKind ?? GuidanceKind.cfg.rawValue }

    /// What was said of it.
    func asked() throws -> AskedSampling {
        let guidance = try imageGuidance()
        return AskedSampling(
            kind: givenKind == nil ? nil : guidance.kind, scale: givenScale, interval: guidanceInterval == nil ? nil : guidance.interval)
    }

    /// With the usual for what was not said.
    func imageGuidance() throws -> ImageGuidance {
        guard guidanceScale.isFinite, guidanceScale >= 0 else { throw Failure.usage("--guidance-scale is a number from 0, not \(guidanceScale)") }
        guard let kind = GuidanceKind(rawValue: guidance) else {
            throw Failure.usage("--guidance is \(GuidanceKind.allCases.map(\.rawValue).joined(separator: ", ")), not '\(guidance)'")
        }
        guard let guidanceInterval else { return ImageGuidance(kind, scale: guidanceScale) }
        let ends = guidanceInterval.split(separator: ",").map { Double($0) }
        guard ends.count == 2, let low = ends[0], let high = ends[1], 0 <= low, low <= high, high <= 1 else {
            throw Failure.usage("--guidance-interval takes two noise levels from 0 to 1, the lower first, as in 0.1,0.8; not '\(guidanceInterval)'")
        }
        return ImageGuidance(kind, scale: guidanceScale, interval: low...high)
    }
}
