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
        guard steps > 0, batch > 0, accumulate > 0, checkpointEvery > 0, validateEvery > 0, (samplesEvery ?? 0) >= 0, (shards ?? 1) > 0, (earlyStop ?? 1) > 0 else {
            throw ValidationError("--steps, --batch, --accumulate, --checkpoint-every, --validate-every, --shards and --early-stop are above 0, --samples-every at least 0")
        }
        guard batch < 1 << 24, accumulate < 1 << 24, batch * accumulate < 1 << 24 else { throw ValidationError("a step takes fewer than 16777216 images") }
        guard !resume || !restart else { throw ValidationError("--resume goes on, --restart begins anew: give one of them") }
        guard steps < 1 << 38 else { throw ValidationError("--steps is below \(1 << 38)") }
        guard (0..<1).contains(emaDecay) else { throw ValidationError("--ema-decay is from 0 up to, but not with, 1") }
        guard (learningRate ?? 1) > 0, (learningRate ?? 1).isFinite else { throw ValidationError("--learning-rate is a number above 0") }
        guard (0..<1).contains(labelDropout) else { throw ValidationError("--label-dropout is a share from 0 up to, but not with, 1") }
        guard (0..<1).contains(validation), (0..<1).contains(sparsity) else { throw ValidationError("--validation and --sparsity are shares from 0 up to, but not with, 1") }
        guard earlyStop == nil || sparsity == 0 else { throw ValidationError("--early-stop may end a run before --sparsity is reached: give one of them") }
        guard earlyStop == nil || validation > 0 else { throw ValidationError("--early-stop needs held-out images: give --validation 0.1") }
    }

    func settings(learningRate usual: Float) throws -> TrainingSettings {
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
        settings.precision = try trainingPrecision(precision)
        return settings
    }

    /// The folder that belongs to an output file.
    func folder(for output: String, name: String) -> String {
        if let runFolder { return runFolder.replacing("{}", with: name) }
        return (output.hasSuffix(".safetensors") ? String(output.dropLast(".safetensors".count)) : output) + ".run"
    }

    /// Takes the run's folder for this process, before the work; nil in the other processes of a group.
    func place(for output: String, name: String, _ processes: ProcessGroup?) throws -> RunPlace? {
        guard processes?.rank ?? 0 == 0 else { return nil }
        let place = try RunPlace(folder(for: output, name: name), resumes: resume, restarts: restart, output: output)
        if let moved = place.movedTo { note("the run that was in '\(place.path)' is kept in '\(moved)'") }
        return place
    }

    /// Runs to the end: curves, samples and checkpoints into the run's folder, progress on standard error. Among several
    /// processes the first alone writes.
    /// - Parameters:
    ///   - place: of the run; nil in the processes that do not write.
    ///   - path: its folder.
    ///   - what: what config.json says beside the settings.
    ///   - keep: writes the run's values as a file: the best so far, or the last.
    func follow(
        _ run: TrainingRun, in place: RunPlace?, folder path: String, what: [String: String], keep: (_ values: TrainableValues, _ file: String) throws -> Void
    ) throws {
        if resume { try takeUp(run, place?.state ?? RunPlace.state(in: path), folder: path) }
        if run.isFirstProcess, let line = run.settings.shortRunLine { note(line) }
        try run.checkProcessesAgree()
        let folder = try place.map { try RunFolder($0, run, configuration: what, environment: environment(run)) }
        let sheet = try SampleSheet(run.objective.convention, classes: run.data.classNames.count, seed: run.settings.seed)
        Interruption.watch()
        var view = run.isFirstProcess ? TrainingView(run, showsCurve: watch) : nil
        while !run.isFinished {
            try run.advance()
            view?.show(run)
            do { try write(run, sheet, in: folder) } catch { throw stopped(run, folder, by: error) }
            if Interruption.happened {
                if let folder { try keepState(run, folder) }
                throw Failure.interrupted("stopped at step \(run.step); go on with --resume")
            }
        }
        view?.finish(run)
        guard let folder else { return }
        do {
            try keep(run.average, path + "/last.safetensors")
            if let best = run.bestValues { try keep(best, path + "/best.safetensors") }
            try folder.finish(run)
        } catch { throw stopped(run, folder, by: error) }
    }

    private func takeUp(_ run: TrainingRun, _ state: String?, folder: String) throws {
        guard let state else {
            if run.isFirstProcess { note("there is no run in '\(folder)' to go on from: this one begins") }
            return
        }
        let before = TrainingRun.progress(ofCheckpoint: state)?.steps
        try run.restore(from: state)
        guard run.isFirstProcess else { return }
        note("going on at step \(run.step) of \(run.settings.steps)")
        if let before, before != run.settings.steps { note("--steps was \(before), is now \(run.settings.steps): the learning rate follows the new length from here") }
        if run.isFinished { note("the run is done; give more --steps to go on") }
    }

    /// What a step leaves in the run's folder, where it is due.
    private func write(_ run: TrainingRun, _ sheet: SampleSheet, in folder: RunFolder?) throws {
        guard let folder else { return }
        let sheetSteps = samplesEvery ?? max(1, run.settings.steps / 5)
        if run.step % 100 == 0 || run.isFinished { try folder.report(run) }
        if sheetSteps > 0, run.step % sheetSteps == 0 || run.isFinished, run.model.configuration.inChannels == 3 { try folder.sample(run, sheet) }
        if run.step % checkpointEvery == 0, !run.isFinished { try run.save(to: folder.checkpoint) }
    }

    private func keepState(_ run: TrainingRun, _ folder: RunFolder) throws {
        // A curve can be drawn again, and must not cost the checkpoint.
        try? folder.report(run)
        try run.save(to: folder.checkpoint)
    }

    /// Keeps the run's state where it can still be written, else the checkpoint before it, and says which.
    /// - Returns: the error, to be thrown.
    private func stopped(_ run: TrainingRun, _ folder: RunFolder?, by error: any Error) -> any Error {
        guard let folder else { return error }
        try? run.save(to: folder.checkpoint)
        if let (step, _) = TrainingRun.progress(ofCheckpoint: folder.checkpoint) {
            note("the run stands at step \(run.step); its state at step \(step) is kept: go on with --resume")
        } else {
            note("the run stood at step \(run.step), and its state could not be kept")
        }
        return error
    }

    private func environment(_ run: TrainingRun) -> [String: String] {
        let timing = Timing("", seconds: [0])
        return [
            "program": Adapterctl.configuration.version, "processor": timing.processor, "threads": "\(timing.threads)", "library": timing.library,
            "system": ProcessInfo.processInfo.operatingSystemVersionString, "processes": "\(run.processes?.size ?? 1)",
            "started": Date().formatted(.iso8601),
        ]
    }
}

/// A precision that gradients can go through, or f32 with one line on standard error where this machine does not have it.
func trainingPrecision(_ text: String) throws -> Precision {
    guard let asked = Precision(rawValue: text), asked == .f32 || asked == .bf16 else {
        throw Failure.usage("--precision of training is f32 or bf16, not '\(text)'")
    }
    return asked.orFallback()
}
