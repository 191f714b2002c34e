import AdapterFormat
import DiTModel
import Diffusion
import Foundation
import TensorMath

/// A run from where it begins, or was stopped, to its end: curves, sample sheets and checkpoints into its folder on the way, the last
/// and the best values at its end. Among several processes that share each batch all of them run it, and the first alone writes.
package struct TrainingLoop {
    package enum Event {
        /// A sentence for whoever started the run.
        case remark(String)
        /// It is about to take its first step of this process.
        case began
        /// It has taken a step.
        case step
        /// It has taken its last.
        case ended
    }

    /// Steps between two checkpoints.
    package var checkpointEvery = 500
    /// Steps between two sample sheets; 0 draws none, nil is a fifth of the run.
    package var samplesEvery: Int?
    /// Whether it goes on from the run in the folder, where there is one.
    package var resumes = false
    /// What config.json says beside the settings.
    package var configuration: [String: String] = [:]
    /// Asked after each step; a run that is to stop keeps its state first.
    package var isStopped: () -> Bool = { false }
    package var onEvent: (Event, TrainingRun) -> Void = { _, _ in }

    package init() {}

    /// - Parameters:
    ///   - place: of the run; nil in the processes that do not write.
    ///   - path: its folder.
    ///   - keep: writes the run's values as a file: the last, or the best so far.
    /// - Throws: `TrainingError`, `interrupted` where the run was stopped; what `keep` throws.
    package func run(_ run: TrainingRun, in place: RunPlace?, folder path: String, keep: (_ values: TrainableValues, _ file: String) throws -> Void) throws {
        if resumes { try takeUp(run, place?.state ?? RunPlace.state(in: path), folder: path) }
        if let line = run.settings.shortRunLine { say(line, run) }
        try run.checkProcessesAgree()
        let folder = try place.map { try RunFolder($0, run, configuration: configuration, environment: environment(run)) }
        onEvent(.began, run)
        while !run.isFinished {
            try run.advance()
            onEvent(.step, run)
            if let folder {
                do { try write(run, in: folder) } catch { throw stopped(run, folder, by: error) }
            }
            guard isStopped() else { continue }
            if let folder { try keepState(run, folder) }
            throw TrainingError.interrupted(step: run.step)
        }
        onEvent(.ended, run)
        guard let folder else { return }
        do {
            try keep(run.average, path + "/last.safetensors")
            if let best = run.bestValues { try keep(best, path + "/best.safetensors") }
            try folder.finish(run)
        } catch { throw stopped(run, folder, by: error) }
    }

    private func say(_ text: String, _ run: TrainingRun) { if run.isFirstProcess { onEvent(.remark(text), run) } }

    private func takeUp(_ run: TrainingRun, _ state: String?, folder: String) throws {
        guard let state else { return say("there is no run in '\(folder)' to go on from: this one begins", run) }
        let before = TrainingRun.progress(ofCheckpoint: state)?.steps
        try run.restore(from: state)
        say("going on at step \(run.step) of \(run.settings.steps)", run)
        if let before, before != run.settings.steps {
            say("--steps was \(before), is now \(run.settings.steps): the learning rate follows the new length from here", run)
        }
        if run.isFinished { say("the run is done; give more --steps to go on", run) }
    }

    /// What a step leaves in the run's folder, where it is due.
    private func write(_ run: TrainingRun, in folder: RunFolder) throws {
        let sheetSteps = samplesEvery ?? max(1, run.settings.steps / 5)
        if run.step % 100 == 0 || run.isFinished { try folder.report(run) }
        if sheetSteps > 0, run.step % sheetSteps == 0 || run.isFinished { try folder.sample(run) }
        if run.step % checkpointEvery == 0, !run.isFinished { try run.save(to: folder.checkpoint) }
    }

    private func keepState(_ run: TrainingRun, _ folder: RunFolder) throws {
        // A curve can be drawn again, and must not cost the checkpoint.
        try? folder.report(run)
        try run.save(to: folder.checkpoint)
    }

    /// Keeps the run's state where it can still be written, else the checkpoint before it, and says which.
    /// - Returns: the error, to be thrown.
    private func stopped(_ run: TrainingRun, _ folder: RunFolder, by error: any Error) -> any Error {
        try? run.save(to: folder.checkpoint)
        if let (step, _) = TrainingRun.progress(ofCheckpoint: folder.checkpoint) {
            say("the run stands at step \(run.step); its state at step \(step) is kept: go on with --resume", run)
        } else {
            say("the run stood at step \(run.step), and its state could not be kept", run)
        }
        return error
    }

    /// The machine and the program of a run.
    private func environment(_ run: TrainingRun) -> [String: String] {
        [
            "program": packageVersion, "processor": Processors.name, "threads": "\(ThreadPool.processorCount)", "library": blasDescription,
            "system": ProcessInfo.processInfo.operatingSystemVersionString, "processes": "\(run.processes?.size ?? 1)",
            "started": Date().formatted(.iso8601),
        ]
    }
}
