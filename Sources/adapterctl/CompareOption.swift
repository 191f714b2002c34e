import Diffusion
import DomainEvaluation
import Foundation
import SamplingEngine
import TensorMath

extension SamplingSetting {
    /// `--compare` as key=value with commas between; what it leaves out is the command line's own, which alone is called "usual".
    init(_ text: String, usual: SamplingOptions, _ precision: Precision, _ convention: DiffusionConvention) throws {
        try self.init(
            name: text.isEmpty ? "usual" : text, usual.asked(convention), cache: usual.cacheLevel(), precision: precision)
        for part in text.split(separator: ",") {
            let pair = part.split(separator: "=", maxSplits: 1).map(String.init)
            guard pair.count == 2 else { throw Failure.usage("--compare takes key=value with commas between, and '\(part)' in '\(text)' is not that") }
            try set(pair[0], to: pair[1], text)
        }
        // Refuses a count of steps or a sampler of another path before anything is measured.
        let sampling = asked.usual(on: convention.path)
        if sampling.sampler != .fitted { _ = try SamplingPlan(sampling.sampler, steps: sampling.steps, convention) }
    }

    private mutating func set(_ key: String, to value: String, _ text: String) throws {
        switch key {
        case "guidance":
            guard let kind = GuidanceKind(rawValue: value) else { throw wrong(value, key, GuidanceKind.allCases.map(\.rawValue)) }
            asked.kind = kind
        case "scale":
            guard let number = Float(value), number.isFinite, number >= 0 else { throw Failure.usage("scale in '\(text)' is a number from 0, not '\(value)'") }
            asked.scale = number
        case "interval":
            let ends = value.components(separatedBy: "..").map { Double($0) }
            guard ends.count == 2, let low = ends[0], let high = ends[1], 0 <= low, low <= high, high <= 1 else {
                throw Failure.usage("interval in '\(text)' is two noise levels from 0 to 1, the lower first, as in 0.1..0.8; not '\(value)'")
            }
            asked.interval = low...high
        case "steps":
            guard let number = Int(value) else { throw Failure.usage("steps in '\(text)' is a whole number, not '\(value)'") }
            asked.steps = number
        case "sampler":
            guard let found = Sampler(rawValue: value) else { throw wrong(value, key, Sampler.allCases.map(\.rawValue)) }
            asked.sampler = found
        case "cache":
            guard let level = CacheLevel(rawValue: value) else { throw wrong(value, key, CacheLevel.allCases.map(\.rawValue)) }
            cache = level
        case "precision":
            guard PrecisionChoice(rawValue: value) != nil else { throw wrong(value, key, PrecisionChoice.allCases.map(\.rawValue)) }
            precision = try precisionNamed(value, among: PrecisionChoice.allCases)
        default: throw Failure.usage("--compare knows guidance, scale, interval, steps, sampler, cache and precision; '\(key)' in '\(text)' is none of them")
        }
    }

    private func wrong(_ value: String, _ key: String, _ right: [String]) -> Failure {
        .usage("there is no \(key) '\(value)': choose among \(right.joined(separator: ", "))")
    }
}
