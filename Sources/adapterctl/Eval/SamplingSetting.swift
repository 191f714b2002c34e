import Diffusion
import Foundation
import SamplingEngine

/// One way to sample. `--compare` names it as key=value with commas between; what it leaves out is the command line's own.
struct SamplingSetting: Encodable {
    /// As it was asked for; "usual" for the command line's own.
    let name: String
    private(set) var guidance = GuidanceKind.cfg.rawValue
    private(set) var scale: Float
    private(set) var steps: Int
    private(set) var sampler: Sampler

    var guidanceKind: GuidanceKind { GuidanceKind(rawValue: guidance) ?? .cfg }

    init(_ text: String, usual: SamplingOptions, _ convention: DiffusionConvention) throws {
        name = text.isEmpty ? "usual" : text
        scale = usual.guidanceScale
        steps = usual.stepCount
        sampler = try usual.chosen(convention)
        for part in text.split(separator: ",") {
            let pair = part.split(separator: "=", maxSplits: 1).map(String.init)
            guard pair.count == 2 else { throw Failure.usage("--compare takes key=value with commas between, and '\(part)' in '\(text)' is not that") }
            try set(pair[0], to: pair[1], text)
        }
        // Refuses a count of steps or a sampler of another path before anything is measured.
        _ = try SamplingPlan(sampler, steps: steps, convention)
    }

    private mutating func set(_ key: String, to value: String, _ text: String) throws {
        switch key {
        case "guidance":
            guard let kind = GuidanceKind(rawValue: value) else { throw wrong(value, key, GuidanceKind.allCases.map(\.rawValue)) }
            guidance = kind.rawValue
        case "scale":
            guard let number = Float(value), number.isFinite, number >= 0 else { throw Failure.usage("scale in '\(text)' is a number from 0, not '\(value)'") }
            scale = number
        case "steps":
            guard let number = Int(value) else { throw Failure.usage("steps in '\(text)' is a whole number, not '\(value)'") }
            steps = number
        case "sampler":
            guard let found = Sampler(rawValue: value) else { throw wrong(value, key, Sampler.allCases.map(\.rawValue)) }
            sampler = found
        default: throw Failure.usage("--compare knows guidance, scale, steps and sampler; '\(key)' in '\(text)' is none of them")
        }
    }

    private func wrong(_ value: String, _ key: String, _ right: [String]) -> Failure {
        .usage("there is no \(key) '\(value)': choose among \(right.joined(separator: ", "))")
    }
}
