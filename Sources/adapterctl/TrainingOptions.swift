import AdapterFormat
import AdapterTraining
import ArgumentParser
import DiTModel
import Foundation
import TensorMath

/// How long and how fast a run trains, and how it is watched.
struct TrainingOptions: ParsableArguments {
    @Option(help: "Steps of the optimiser.") var steps = 1500
    @Option(help: "Images of one batch.") var batch = 64
    @Option(help: "Batches whose gradients are added up for one step.") var accumulate = 1
    @Option(help: "Of the random numbers: the same seed gives the same result.", transform: seedNumber) var seed: UInt64 = 1
    @Option(help: "AdamW's largest step (default: 1e-3 for a base, 5e-3 for an adapter).") var learningRate: Float?
    @Option(help: "constant, min-snr:5 or soft-min-snr:5, over the times of the diffusion.") var lossWeight = "constant"
    @Option(help: "Decay of the moving average that is kept as the result.") var emaDecay = 0.998
    @Option(help: "Share of the labels that give way to the null class, which guidance leans on.") var labelDropout: Float = 0.1
    @Flag(help: "Mirror images at random.") var flip = false
    @Flag(help: "Draw every class as often as any other, however many images it has.") var balance = false
    @Option(help: "Share of each class that is held out to measure on, such as 0.1.") var validation = 0.0
    @Option(help: "Steps between two measurements on the held-out images.") var validateEvery = 100
    @Option(help: "Stop after so many measurements without a better one, and keep the best.") var earlyStop: Int?
    @Option(help: "Route tokens around middle blocks for the first 70 % of the steps: route:0.3, or route:0.3@[2,L-2].") var tokenCut = "none"
    @Option(help: "Give this share of the values back to the base over the second half of the run, such as 0.8.") var sparsity = 0.0
    @Option(help: "Parts that a batch is dealt in; the same number gives the same bytes on any number of threads and processes.") var shards: Int?
    @Option(help: "Of the frozen matrices' products: f32, or bf16 (twice as fast; values and gradients stay f32).") var precision = Precision.f32.rawValue
    @Option(help: "Steps between checkpoints.") var checkpointEvery = 500
    @Flag(help: "Go on from the run in the run's folder, if there is one: where it was stopped, or from its end to more --steps.") var resume = false
    @Flag(help: "Begin anew where the run's folder holds one that was stopped, which is kept in a folder inside.") var restart = false
    @Option(help: "The folder for curves, samples and checkpoints (default: the output's name with .run); {} stands for the name.") var runFolder: String?
    @Option(help: "Steps between sample sheets in the run's folder; 0 draws none (default: a fifth of the run).") var samplesEvery: Int?
    @Flag(help: "Show the loss curve while it grows, on a terminal.") var watch = false

    func validate() throws {
        guard steps > 0, batch > 0, accumulate > 0, checkpointEvery > 0, validateEvery > 0, (samplesEvery ?? 0) >= 0, (shards ?? 1) > 0, (earlyStop ?? 1) > 0
        else {
            throw ValidationError(
                "--steps, --batch, --accumulate, --checkpoint-every, --validate-every, --shards and --early-stop are above 0, --samples-every at least 0")
        }
        guard batch < 1 << 24, accumulate < 1 << 24, batch * accumulate < 1 << 24 else { throw ValidationError("a step takes fewer than 16777216 images") }
        guard !resume || !restart else { throw ValidationError("--resume goes on, --restart begins anew: give one of them") }
        guard steps < 1 << 38 else { throw ValidationError("--steps is below \(1 << 38)") }
        guard (0..<1).contains(emaDecay) else { throw ValidationError("--ema-decay is from 0 up to, but not with, 1") }
        guard (learningRate ?? 1) > 0, (learningRate ?? 1).isFinite else { throw ValidationError("--learning-rate is a number above 0") }
        guard (0..<1).contains(labelDropout) else { throw ValidationError("--label-dropout is a share from 0 up to, but not with, 1") }
        guard (0..<1).contains(validation), (0..<1).contains(sparsity) else {
            throw ValidationError("--validation and --sparsity are shares from 0 up to, but not with, 1")
        }
        guard earlyStop == nil || sparsity == 0 else { throw ValidationError("--early-stop may end a run before --sparsity is reached: give one of them") }
        guard earlyStop == nil || validation > 0 else { throw ValidationError("--early-stop needs held-out images: give --validation 0.1") }
    }

    func settings(learningRate usual: Float, _ method: TrainableSet.Method) throws -> TrainingSettings {
        var settings = TrainingSettings(steps: steps, batch: batch, seed: seed, learningRate: learningRate ?? usual)
        settings.lossWeighting = lossWeight
        settings.emaDecay = emaDecay
        settings.flips = flip
        settings.labelDropout = labelDropout
        settings.accumulation = accumulate
        settings.balancesClasses = balance
        settings.validationShare = validation
        settings.validationInterval = validateEvery
        settings.patience = earlyStop
        settings.tokenCut = tokenCut
        settings.sparsity = sparsity
        settings.shards = shards
        settings.precision = try trainingPrecision(precision, method)
        return settings
    }

    /// The folder that belongs to an output file.
    func folder(for output: String, name: String) -> String {
        runFolder?.replacing("{}", with: name) ?? RunPlace.folder(for: output)
    }

    /// Takes the run's folder for this process, before the work; nil in the other processes of a group.
    func place(for output: String, name: String, _ processes: ProcessGroup?) throws -> RunPlace? {
        guard processes?.rank ?? 0 == 0 else { return nil }
        let place = try RunPlace(folder(for: output, name: name), resumes: resume, restarts: restart, output: output)
        if let moved = place.movedTo { note("the run that was in '\(place.path)' is kept in '\(moved)'") }
        return place
    }

    /// Runs to the end, progress on standard error.
    /// - Parameters: as `TrainingLoop.run` has them.
    func follow(
        _ run: TrainingRun, in place: RunPlace?, folder path: String, what: [String: String], keep: (_ values: TrainableValues, _ file: String) throws -> Void
    ) throws {
        var loop = TrainingLoop()
        (loop.checkpointEvery, loop.samplesEvery, loop.resumes, loop.configuration) = (checkpointEvery, samplesEvery, resume, what)
        loop.isStopped = { Interruption.happened }
        var view: TrainingView?
        loop.onEvent = { event, run in
            switch event {
            case .remark(let text): note(text)
            case .began:
                Interruption.watch()
                view = run.isFirstProcess ? TrainingView(run, showsCurve: watch) : nil
            case .step: view?.show(run)
            case .ended: view?.finish(run)
            }
        }
        try loop.run(run, in: place, folder: path, keep: keep)
    }
}

/// A precision that gradients can go through, or f32 with one line on standard error where this machine does not have it.
/// What full training cannot have is refused on every machine.
func trainingPrecision(_ text: String, _ method: TrainableSet.Method) throws -> Precision {
    guard let asked = Precision(rawValue: text), asked == .f32 || asked == .bf16 else {
        throw Failure.usage("--precision of training is f32 or bf16, not '\(text)'")
    }
    guard method != .full || asked == .f32 else { throw TrainingError.fullPrecision }
    return asked.orFallback()
}
