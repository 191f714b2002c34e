import AdapterFormat
import Foundation
import ImageFiles
import SystemIO
import TensorFiles
import TensorMath

/// The folder that a run leaves: what was asked for, of what, on what machine; the loss curve; sample sheets; the best and the
/// last values; the checkpoint that the run goes on from; and TensorBoard's event file.
package final class RunFolder {
    package let path: String
    private let place: RunPlace
    private let events: EventFile
    private var reported = 0

    /// - Parameters:
    ///   - place: held for this run, which is at its start or was restored.
    ///   - configuration: what was asked for beside the settings, such as the base and the command line.
    package init(_ place: RunPlace, _ run: TrainingRun, configuration: [String: String], environment: [String: String]) throws {
        self.place = place
        path = place.path
        do {
            try FileManager.default.createDirectory(atPath: path + "/samples", withIntermediateDirectories: true)
        } catch {
            throw TrainingError.unwritable(path, reason: SystemError(error))
        }
        events = try EventFile(folder: path)
        try write("config.json", Configuration(settings: run.settings, trainableSet: run.set, lowRank: run.layout.lowRank, run: configuration))
        try write("environment.json", environment)
        try write("data.json", run.source.facts)
        guard run.step > 0 else { return }
        // What an earlier process wrote may have a gap where it was stopped, or steps that are done again: all of them are written anew.
        try report(run)
        for name in try FileManager.default.contentsOfDirectory(atPath: path + "/samples").sorted() where name.hasSuffix(".png") {
            guard let step = Int(name.dropLast(4)), step <= run.step, let png = try? Data(contentsOf: URL(filePath: path + "/samples/" + name)),
                let picture = try? RGBImage(png, named: name)
            else { continue }
            try events.image("samples", png: png, width: picture.width, height: picture.height, step: step)
        }
        try events.removeOthers()
    }

    package var checkpoint: String { place.checkpoint }

    /// Keeps what a run that is done needs to go on from its end to more steps, in place of its checkpoint.
    package func finish(_ run: TrainingRun) throws {
        try run.save(to: place.finished)
        try? FileManager.default.removeItem(atPath: checkpoint)
    }

    /// Brings the loss curve and the event file up to the run's last step.
    package func report(_ run: TrainingRun) throws {
        guard run.step > reported else { return }
        let history = run.history
        try write("loss.csv", Data(history.csv.utf8))
        try history.plot().picture().writePNG(to: path + "/loss.png")
        while reported < run.step {
            let step = reported
            try events.scalar("loss/train", history.losses[step], step: step + 1)
            try events.scalar("gradient norm", history.gradientNorms[step], step: step + 1)
            try events.scalar("learning rate", run.settings.optimiser(at: step).learningRate, step: step + 1)
            for look in history.heldOut where look.step == step + 1 { try events.scalar("loss/held out", look.error, step: look.step) }
            reported += 1
        }
    }

    /// Samples the averaged values as they are now.
    package func sample(_ run: TrainingRun) throws {
        guard let sheet = try run.source.sheet(run.averagedModel, run.average, layout: run.layout, pool: run.pool) else { return }
        let picture = sheet.enlarged(by: 2)
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
}
