import AdapterFormat
import ArgumentParser
import DiTModel

/// What of a base is trained.
struct MethodOptions: ParsableArguments {
    @Option(help: "difffit, difffit-a, bitfit, lora, or full (every parameter: the result is a base).") var method = "difffit"
    @Option(help: "Blocks, from the first, whose gammas are trained (default: half).") var gammaDepth: Int?
    @Option(name: .customLong("rank"), help: "Rank of LoRA's pairs (default: 8).") var givenRank: Int?
    @Option(help: "LoRA's alpha; the pairs are scaled by alpha / rank (default: the rank).") var alpha: Float?
    @Option(help: "The linear layers of each block that get a pair: qkv, or all for qkv, proj, fc1 and fc2 (default: qkv).") var targets: String?

    var rank: Int { givenRank ?? 8 }

    /// What the method moves in a network of this shape; ranks are alike in every layer.
    /// - Parameter name: a job's own method in place of the command's.
    func set(_ c: DiTConfiguration, named name: String? = nil) throws -> (TrainableSet, LowRank?) {
        let chosen = name ?? method
        guard let method = TrainableSet.Method.trained.first(where: { $0.rawValue == chosen }) else {
            throw Failure.usage("--method takes \(TrainableSet.Method.trained.map(\.rawValue).joined(separator: ", ")), not '\(chosen)'")
        }
        guard (0...c.depth).contains(gammaDepth ?? 0) else { throw Failure.usage("--gamma-depth is between 0 and \(c.depth)") }
        let set = gammaDepth.map { TrainableSet(method, gammaDepth: $0) } ?? TrainableSet(method, c)
        guard method == .lora else {
            // A job of another method may stand beside one of LoRA's.
            guard name != nil || givenRank == nil && alpha == nil && targets == nil else {
                throw Failure.usage("--rank, --alpha and --targets are of --method lora")
            }
            return (set, nil)
        }
        guard (1...c.hiddenSize).contains(rank) else { throw Failure.usage("--rank is between 1 and the width \(c.hiddenSize)") }
        guard (alpha ?? 1).isFinite else { throw Failure.usage("--alpha is a finite number") }
        return (set, LowRank(rank: rank, scale: (alpha ?? Float(rank)) / Float(rank), targets: try linears(), c))
    }

    func linears() throws -> Set<LowRank.Linear> {
        switch targets ?? "qkv" {
        case "qkv": [.qkv]
        case "all": Set(LowRank.Linear.allCases)
        default: throw Failure.usage("--targets takes qkv or all, not '\(targets ?? "")'")
        }
    }
}
