import AdapterFormat
import Foundation
import ImageFiles
import SystemErrors
import TensorFiles
import TensorMath

/// The folder that a run leaves: what was asked for, of what, on what machine; the loss curve; sample sheets; the best and the
/// last values; the checkpoint that the run goes on from; and TensorBoard's event file.
package final class RunFolder {
    package let path: String
    private let events: EventFile
    private var reported: Int

    /// - Parameters:
    ///   - path: created where it is not there.
    ///   - configuration: what was asked for beside the settings, such as the base and the command line.
    package init(_ path: String, _ run: TrainingRun, configuration: [String: String], environment: [String: String]) throws {
        self.path = path
        do {
            try FileManager.default.createDirectory(atPath: path + "/samples", withIntermediateDirectories: true)
        } catch {
            throw TrainingError.unwritable(path, reason: SystemError(error))
        }
        reported = run.step
        events = try EventFile(folder: path)
        try write("config.json", Configuration(settings: run.settings, trainableSet: run.set, lowRank: run.layout.lowRank, run: configuration))
        try write("environment.json", environment)
        try write("data.json", DataFacts(run))
    }

    package var checkpoint: String { Self.checkpoint(in: path) }
    package static func checkpoint(in folder: String) -> String { folder + "/checkpoint.safetensors" }

    /// Brings the loss curve and the event file up to the run's last step.
    package func report(_ run: TrainingRun) throws {
        let history = run.history
        try write("loss.csv", Data(history.csv.utf8))
        try history.plot().picture().writePNG(to: path + "/loss.png")
        for step in reported..<run.step {
            try events.scalar("loss/train", history.losses[step], step: step + 1)
            try events.scalar("gradient norm", history.gradientNorms[step], step: step + 1)
            try events.scalar("learning rate", run.settings.optimiser(at: step).learningRate, step: step + 1)
        }
        for look in history.heldOut where look.step > reported { try events.scalar("loss/held out", look.error, step: look.step) }
        reported = run.step
    }

    /// Samples the averaged values as they are now.
    package func sample(_ run: TrainingRun, _ sheet: SampleSheet) throws {
        let picture = try sheet.draw(run.averagedModel, run.averagedVector, run.averagedClasses, layout: run.layout, pool: run.pool).enlarged(by: 2)
        let png = try picture.png()
        try write("samples/\(String(format: "%06d", run.step)).png", png)
        try events.image("samples", png: png, width: picture.width, height: picture.height, step: run.step)
    }

    private func write(_ name: String, _ value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
        try write(name, encoder.encode(value))
    }

    private func write(_ name: String, _ data: Data) throws {
        do {
            try data.write(to: URL(filePath: path + "/" + name), options: .atomic)
        } catch {
            throw TrainingError.unwritable(path + "/" + name, reason: SystemError(error))
        }
    }

    private struct Configuration: Encodable {
        let settings: TrainingSettings
        let trainableSet: TrainableSet
        let lowRank: LowRank?
        let run: [String: String]

        enum CodingKeys: String, CodingKey {
            case settings, run
            case trainableSet = "trainable_set"
            case lowRank = "low_rank"
        }
    }

    private struct DataFacts: Encodable {
        let summary: String
        let digest: Digest
        let size, images, trained, heldOut: Int
        let classes: [Class]

        struct Class: Encodable {
            let name: String
            let images: Int
        }

        enum CodingKeys: String, CodingKey {
            case summary, digest, size, images, trained, classes
            case heldOut = "held_out"
        }

        init(_ run: TrainingRun) {
            let data = run.data
            summary = data.summary
            digest = data.digest
            size = data.size
            images = data.count
            trained = run.training.count
            heldOut = data.count - run.training.count
            classes = zip(data.classNames, data.byClass).map { Class(name: $0, images: $1.count) }
        }
    }
}
