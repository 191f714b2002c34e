import AdapterFormat
import AdapterTraining
import ArgumentParser
import DiTModel
import Diffusion
import Evaluation
import TensorMath

/// At which resolution a run trains, on which of the pictures, and how low-rank pairs are shared out.
struct ScopeOptions: ParsableArguments {
    @Option(help: "Give ranks to layers by the spectra of their gradients, with this share of the values that --rank everywhere has, such as 0.6.")
    var loraSearch: Double?
    @Option(help: "Train on this share of each class's pictures, the ones that stand for the others, such as 0.4.") var pick: Double?
    @Option(help: "Side of the images in pixels (default: the base's).") var resolution: Int?
    @Option(help: "What positions are divided by; 2 lets twice the resolution span the base's range (default: 1).") var positionScale: Double?

    /// The frozen network at the resolution of the run.
    func model(over base: BaseFile) throws -> DiT {
        let c = base.configuration
        let size = resolution ?? c.inputSize, scale = positionScale ?? 1
        if let fault = c.fault(of: ImageGrid(size: size, positionScale: scale)) { throw Failure.usage(fault) }
        let model = try DiT(base)
        return size == c.inputSize && scale == 1 ? model : model.resized(to: size, positionScale: scale)
    }

    /// The pairs of a run: alike everywhere, or as the gradients of the first batches ask for.
    func searched(
        _ lowRank: LowRank?, _ method: MethodOptions, _ settings: TrainingSettings, base: BaseFile, model: DiT, data: TrainingData, pool: ThreadPool
    ) throws -> LowRank? {
        guard let loraSearch else { return lowRank }
        guard let lowRank else { throw Failure.usage("--lora-search chooses the ranks of --method lora") }
        guard loraSearch > 0, loraSearch <= 1 else { throw Failure.usage("--lora-search is a share above 0, at most 1") }
        let c = base.configuration
        let spectra = try RankSearch.spectra(settings, method.linears(), base: base, model: model, data: data, batches: 4, pool: pool)
        var costs: [String: Int] = [:]
        for linear in LowRank.Linear.allCases {
            for block in 0..<c.depth { costs[linear.name(block: block)] = linear.inputs(c) + linear.outputs(c) }
        }
        let all = lowRank.ranks.reduce(0) { $0 + $1.value * costs[$1.key, default: 0] }
        let ranks = RankSearch.ranks(spectra, budget: Int(loraSearch * Double(all)), largest: min(4 * method.rank, c.hiddenSize)) { costs[$0, default: 1] }
        guard !ranks.isEmpty else { throw Failure.usage("--lora-search \(loraSearch) leaves no layer a rank: give a larger share or --rank") }
        let used = ranks.reduce(0) { $0 + $1.value * costs[$1.key, default: 0] }
        note("ranks \(ranks.values.min() ?? 0) to \(ranks.values.max() ?? 0) in \(ranks.count) of \(lowRank.ranks.count) layers, \(used) values of \(all)")
        return LowRank(ranks: ranks, scale: lowRank.scale)
    }

    /// The pictures to train on: all, or those that stand for them by the frozen base's features.
    func picked(_ data: TrainingData, _ base: BaseFile, _ model: DiT, seed: UInt64, _ pool: ThreadPool) throws -> TrainingData {
        guard let pick else { return data }
        guard pick > 0, pick < 1 else { throw Failure.usage("--pick is a share between 0 and 1") }
        let images = data.labelledLatents(Array(0..<data.count), pool: pool)
        let convention = try TrainingObjective(base, lossWeighting: "constant").convention
        let features = FrozenFeatures(try InferenceDiT(model), base: base, convention: convention).measure(images.values, pool: pool)
        let chosen = DataPicker.pick(data, features: features, share: pick, seed: seed, pool: pool)
        note("picked \(chosen.count) of \(data.count, "picture")")
        return TrainingData(data, images: chosen, summary: data.summary + ", picked \(pick)")
    }
}
