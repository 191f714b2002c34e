import AdapterFormat
import AdapterTraining
import DiTModel
import DiffFitSampling
import Foundation
import Synchronization
import TensorMath

/// Trains an adapter of a frozen base from a folder of pictures.
///
/// A run has a folder of its own with its settings, its loss curve, sample sheets and the checkpoint that a stopped run goes on from, to
/// the bytes that an uninterrupted one would have given. It is the run of `adapterctl train`.
public struct AdapterTrainer: Sendable {
    /// The name of the domain.
    public var name: String
    /// One sub-folder per class, with PNG, JPEG, WebP, GIF, BMP or TIFF files, which are cropped to squares of the base's size.
    public var images: String
    /// The frozen base.
    public var base: DiffFitBase
    /// The adapter file (safetensors) to write.
    public var output: String
    /// How it trains.
    public var settings: TrainingSettings
    /// The folder of the run; the output's name with `.run` where nothing else is set.
    public var runFolder: String
    /// Steps between two checkpoints.
    public var checkpointEvery = 500
    /// The folder where pictures are kept as latents, for a base that learns these; any runs may share one. nil is one in the run's.
    public var latentCache: String?
    /// Threads that compute; nil is one for each processor that the process may use.
    public var threads: Int?

    /// - Parameters: as the properties of their names.
    public init(_ name: String, images: String, base: DiffFitBase, output: String, settings: TrainingSettings = TrainingSettings()) {
        (self.name, self.images, self.base, self.output, self.settings) = (name, images, base, output, settings)
        runFolder = RunPlace.folder(for: output)
    }

    /// Trains to the end, on a thread of its own. A cancelled task keeps the run's checkpoint after the step that it is at, and then throws.
    ///
    /// - Parameters:
    ///   - resume: goes on from the run in the folder where there is one; otherwise one that was stopped there is refused.
    ///   - onProgress: told after each step; it runs on the run's thread.
    /// - Returns: the digest of the adapter in `output`.
    /// - Throws: `CancellationError`; `TensorFileError`; `DiffFitError`: `notFound` for a folder without usable pictures, `inUse` where
    ///   another run is at work in the run's folder or was stopped there, `invalidRequest` for settings that no run can have, or
    ///   that a resumed run did not have, `incompatible` for a base of latents without its autoencoder.
    @discardableResult
    public func train(resume: Bool = false, onProgress: @escaping @Sendable (TrainingProgress) -> Void = { _ in }) async throws -> Digest {
        let isStopped = Atomic<Bool>(false)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Digest, any Error>) in
                let thread = Thread {
                    continuation.resume(
                        with: Result { try run(resume: resume, isStopped: { isStopped.load(ordering: .relaxed) }, onProgress) }
                            .mapError(DiffFitError.translatedTraining))
                }
                thread.name = "difffit.training"
                // As a program's own.
                thread.stackSize = 8 << 20
                thread.start()
            }
        } onCancel: {
            isStopped.store(true, ordering: .relaxed)
        }
    }

    /// The same as a stream of its steps, which ends when the adapter is written. Leaving the stream stops the run at its next step.
    /// - Parameter resume: as `train` has it.
    public func progress(resume: Bool = false) -> AsyncThrowingStream<TrainingProgress, any Error> {
        AsyncThrowingStream(bufferingPolicy: .bufferingNewest(64)) { continuation in
            let task = Task {
                do {
                    try await train(resume: resume) { continuation.yield($0) }
                    continuation.finish()
                } catch { continuation.finish(throwing: error) }
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    private func run(resume: Bool, isStopped: @escaping () -> Bool, _ onProgress: @escaping (TrainingProgress) -> Void) throws -> Digest {
        _ = try AdapterName(name)
        if let fault = settings.fault { throw DiffFitError(.invalidRequest, fault) }
        let place = try RunPlace(runFolder, resumes: resume, output: output)
        defer { withExtendedLifetime(place) {} }
        let pool = ThreadPool(threads: max(1, threads ?? ThreadPool.processorCount)), model = try DiT(base.file)
        var settings = settings
        settings.precision = .auto
        let run = try TrainingRun.adapter(
            settings, TrainableSet(.difffit, base.file.configuration), base: base.file, model: model, data: data(pool), pool: pool)
        var loop = TrainingLoop()
        (loop.checkpointEvery, loop.resumes, loop.isStopped) = (max(1, checkpointEvery), resume, isStopped)
        loop.configuration = ["name": name, "data": images, "output": output, "base": base.digest.description]
        loop.onEvent = { event, run in if case .step = event { onProgress(TrainingProgress(run)) } }
        try loop.run(run, in: place, folder: runFolder) { values, path in
            _ = try run.writeAdapter(named: name, base: base.file, to: path, values: values)
        }
        return try run.writeAdapter(named: name, base: base.file, to: output).digest
    }

    /// The pictures as the base learns them.
    private func data(_ pool: ThreadPool) throws -> TrainingData {
        let configuration = base.file.configuration
        guard let autoencoder = base.autoencoders.main else {
            guard configuration.inChannels == 3 else {
                throw DiffFitError(
                    .incompatible, "this base learns latents of \(configuration.inChannels) channels, not pictures: open it with its autoencoder")
            }
            return try TrainingData.pictures(images, size: configuration.inputSize, pool: pool)
        }
        let pictures = try TrainingData.pictures(images, size: configuration.inputSize * autoencoder.format.downsampling, pool: pool)
        return try LatentCache.encoded(pictures, by: autoencoder, folder: latentCache ?? runFolder + "/latents", mirrored: settings.flips, pool: pool)
    }
}

/// A training run after one of its steps.
public struct TrainingProgress: Sendable, Hashable {
    /// Steps done.
    public let step: Int
    /// Steps that the run takes, where it does not stop early.
    public let total: Int
    /// Of this step, the mean over its images.
    public let loss: Float
    /// Denoising error on held-out images when they were last looked at; nil before, and without such images.
    public let heldOutError: Float?

    init(_ run: TrainingRun) {
        (step, total) = (run.step, run.settings.steps)
        loss = run.history.losses.last ?? .nan
        heldOutError = run.history.heldOut.last?.error
    }
}

extension DiffFitError {
    /// An error of a training run as callers of the library get it.
    static func translatedTraining(_ error: any Error) -> any Error {
        guard let error = error as? TrainingError else { return translated(error) }
        switch error {
        case .interrupted: return CancellationError()
        case .unfinished(let folder, let step, let steps):
            return DiffFitError(.inUse, "'\(folder)' holds a run that was stopped at step \(step) of \(steps): resume it, or give another folder")
        case .held, .outputHeld, .otherContent: return DiffFitError(.inUse, "\(error)")
        case .noFolder, .noImages, .tooFewClasses, .emptyClasses: return DiffFitError(.notFound, "\(error)")
        case .unwritable, .unreadable, .notFinite, .processesDiffer: return DiffFitError(.system, "\(error)")
        case .otherSet, .otherSize, .noNullRow: return DiffFitError(.incompatible, "\(error)")
        case .noCheckpoint: return DiffFitError(.damaged, "\(error)")
        default: return DiffFitError(.invalidRequest, "\(error)")
        }
    }
}
