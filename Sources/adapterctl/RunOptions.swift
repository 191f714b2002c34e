import AdapterTraining
import ArgumentParser
import DiTModel
import Foundation
import TensorMath

/// Where a run is kept, and how it is watched.
struct RunOptions: ParsableArguments {
    @Option(help: "Steps between checkpoints.") var checkpointEvery = 500
    @Flag(help: "Go on from the run in the run's folder, if there is one: where it was stopped, or from its end to more --steps.") var resume = false
    @Flag(help: "Begin anew where the run's folder holds one that was stopped, which is kept in a folder inside.") var restart = false
    @Option(help: "The folder for curves, samples and checkpoints (default: the output's name with .run); {} stands for the name.") var runFolder: String?
    @Option(help: "Steps between sample sheets in the run's folder; 0 draws none (default: a fifth of the run).") var samplesEvery: Int?
    @Flag(help: "Show the loss curve while it grows, on a terminal.") var watch = false

    func validate() throws {
        guard checkpointEvery > 0, (samplesEvery ?? 0) >= 0 else { throw ValidationError("--checkpoint-every is above 0, --samples-every at least 0") }
        guard !resume || !restart else { throw ValidationError("--resume goes on, --restart begins anew: give one of them") }
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
