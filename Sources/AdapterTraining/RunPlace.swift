import Foundation
import SystemIO
import TensorFiles

/// A run's folder, held for one process: another that wants it is refused, and what an earlier run left in it is kept, but apart.
///
/// The lock is the system's (flock), so it ends with the process however that ends.
package final class RunPlace {
    package let path: String
    /// What an earlier run left, where it was moved to; nil where there was none.
    package private(set) var movedTo: String?
    /// The state that this run is to go on from; nil where it begins.
    package private(set) var state: String?
    private var lock: HeldFile?
    private var output: HeldFile?

    /// - Parameters:
    ///   - path: created where it is not there.
    ///   - resumes: whether the run goes on from what is there.
    ///   - restarts: whether one that was stopped may be put aside.
    ///   - output: the file that the run will write at its end, which is held too: of two runs with one output only one's would stay.
    /// - Throws: `TrainingError.held`, `.outputHeld`, `.unfinished`, `.otherContent`, `.unwritable`.
    package init(_ path: String, resumes: Bool, restarts: Bool = false, output: String? = nil) throws {
        self.path = path
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw TrainingError.unwritable(path, reason: SystemError(error))
        }
        lock = try Self.holding(path + "/lock") {
            .held(folder: path, process: $0)
        } open: {
            try HeldFile(path + "/lock", isPassing: false)
        }
        self.output = try output.map { output in
            // Behind a link, what it leads to.
            let file = URL(filePath: output).resolvingSymlinksInPath(), name = String(file.lastPathComponent.prefix(60))
            let place = file.deletingLastPathComponent().appending(path: ".\(name).lock").path(percentEncoded: false)
            return try Self.holding(place) {
                .outputHeld(output, process: $0)
            } open: {
                try HeldFile(place, isPassing: true)
            }
        }
        let isRun = try holdsRun()
        if resumes, let found = Self.state(in: path) {
            state = found
        } else if isRun {
            if !restarts, FileManager.default.fileExists(atPath: checkpoint), let (step, steps) = TrainingRun.progress(ofCheckpoint: checkpoint) {
                throw TrainingError.unfinished(folder: path, step: step, steps: steps)
            }
            movedTo = try moveAside()
        }
    }

    /// The folder that belongs to an output file where none is given: its name with `.run`.
    package static func folder(for output: String) -> String {
        (output.hasSuffix(".safetensors") ? String(output.dropLast(".safetensors".count)) : output) + ".run"
    }

    package var checkpoint: String { Self.checkpoint(in: path) }
    var finished: String { path + "/finished.safetensors" }

    /// There while a run is under way or was stopped.
    package static func checkpoint(in folder: String) -> String { folder + "/checkpoint.safetensors" }

    /// What a run in a folder can go on from: where it was stopped, else its end.
    package static func state(in folder: String) -> String? {
        [checkpoint(in: folder), folder + "/finished.safetensors"].first { FileManager.default.fileExists(atPath: $0) }
    }

    /// - Parameter refusal: of a file that another process holds.
    private static func holding(_ path: String, or refusal: (Int?) -> TrainingError, open: () throws -> HeldFile) throws -> HeldFile {
        do { return try open() } catch let held as HeldFile.Held {
            throw refusal(held.process)
        } catch let error as SystemError {
            throw TrainingError.unwritable(path, reason: error)
        }
    }

    /// What runs write, beside their event files.
    private static let own = [
        "config.json", "environment.json", "data.json", "loss.csv", "loss.png", "samples", "last.safetensors", "best.safetensors", "checkpoint.safetensors",
        "finished.safetensors",
    ]

    /// Whether a run has been here; a foreign configuration is nobody's to move.
    private func holdsRun() throws -> Bool {
        let files = FileManager.default
        guard files.fileExists(atPath: path + "/config.json") else {
            // Whose the others are cannot be known without it, but they are not written over.
            return Self.own.contains { name in
                name == "samples" ? files.subpaths(atPath: path + "/samples")?.isEmpty == false : files.fileExists(atPath: path + "/" + name)
            }
        }
        struct Mark: Decodable { let trainable_set: Content; struct Content: Decodable {} }
        guard let data = files.contents(atPath: path + "/config.json"), (try? JSONDecoder().decode(Mark.self, from: data)) != nil else {
            throw TrainingError.otherContent(folder: path)
        }
        return true
    }

    /// Puts what runs write, and nothing else, into a new folder inside.
    private func moveAside() throws -> String {
        let files = FileManager.default
        var number = 1
        while files.fileExists(atPath: "\(path)/earlier-\(number)") { number += 1 }
        let place = "\(path)/earlier-\(number)"
        do {
            try files.createDirectory(atPath: place, withIntermediateDirectories: false)
            // The configuration, by which a run is known, goes last: what a kill leaves is moved by the next.
            for name in try files.contentsOfDirectory(atPath: path).sorted(by: { $1 == "config.json" && $0 != $1 })
            where Self.own.contains(name) || name.hasPrefix(EventFile.prefix) {
                try files.moveItem(atPath: path + "/" + name, toPath: place + "/" + name)
            }
        } catch {
            throw TrainingError.unwritable(place, reason: SystemError(error))
        }
        return place
    }
}
