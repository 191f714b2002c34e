import Foundation
import SystemIO
import TensorFiles

/// Why a training run cannot start or go on.
package enum TrainingError: Error, Equatable, CustomStringConvertible {
    /// What differs between the run of a checkpoint and the one that was asked for.
    package struct Difference: Sendable, Equatable {
        package let name, old, new: String

        package init(name: String, old: String, new: String) { (self.name, self.old, self.new) = (name, old, new) }
    }

    /// A class without a usable picture, and the first of its pictures that could not be used.
    package struct EmptyClass: Sendable, Equatable {
        package let name: String
        package let skipped: FolderReport.Skipped?
    }

    case otherRun(file: String, differences: [Difference])
    case noCheckpoint(file: String)
    case fewerSteps(Int, than: Int)
    case held(folder: String, process: Int?)
    case outputHeld(String, process: Int?)
    case unfinished(folder: String, step: Int, steps: Int)
    case otherContent(folder: String)
    case noFolder(String)
    case unreadable(String, reason: String)
    case file(String, what: String, isPicture: Bool)
    case noImages(folder: String, first: FolderReport.Skipped?)
    case tooFewClasses(folder: String, pictures: Int)
    case emptyClasses([EmptyClass])
    case noSplit(String, folder: String, known: [String])
    case noClass(String, folder: String, known: [String])
    /// A table of labels, or a list, that is not as it should be.
    case metadata(String, reason: String)
    /// A published data set without what its layout has.
    case layout(String, folder: String, missing: String)
    /// A published data set whose labels are MATLAB files still.
    case unprepared(String, folder: String)
    case sameName(String, folder: String)
    case notFinite(step: Int)
    /// A run that was asked to stop; its state is kept.
    case interrupted(step: Int)
    case tokenCut(String, depth: Int)
    case shards(Int, processes: Int)
    case otherSize(images: Int, network: Int)
    case otherSet(adapter: String, set: String, wanted: String)
    case otherClasses([String], base: String, wanted: [String])
    case unwritable(String, reason: SystemError)
    case processesDiffer(step: Int)
    case noNullRow

    package var description: String {
        switch self {
        case .otherRun(let file, let differences):
            "the checkpoint '\(file)' belongs to a run with other settings: \(differences.map { "\($0.name) was \($0.old), is now \($0.new)" }.joined(separator: "; ")). Give the same, or begin anew with --restart"
        case .noCheckpoint(let file): "'\(file)' is no checkpoint of a run of this kind: begin anew with --restart"
        case .fewerSteps(let steps, let done): "the run stands at step \(done) already: give --steps \(done) or more, not \(steps)"
        case .held(let folder, let process):
            "another training\(process.map { " (process \($0))" } ?? "") is at work in '\(folder)': wait for it, or give another --run-folder"
        case .outputHeld(let path, let process):
            "another training\(process.map { " (process \($0))" } ?? "") is going to write '\(path)': wait for it, or give another -o"
        case .unfinished(let folder, let step, let steps):
            "'\(folder)' holds a run that was stopped at step \(step) of \(steps): go on with --resume, or begin anew with --restart, which keeps it beside"
        case .otherContent(let folder): "'\(folder)' holds a config.json that no run wrote: give another --run-folder"
        case .noFolder(let path):
            path.isEmpty ? "the folder to read pictures from has no name: give --data FOLDER" : "there is no folder '\(path)' to read pictures from"
        case .unreadable(let path, let reason): "'\(path)' cannot be read: \(reason)"
        case .file(let path, let what, let isPicture):
            isPicture
                ? "'\(path)' is a picture; --data takes a folder with one sub-folder per class"
                : "'\(path)' is a file (\(what)); --data takes a folder with one sub-folder per class: unpack it first where it is an archive"
        case .noImages(let folder, let first):
            "'\(folder)' holds no usable picture in its sub-folders\(first.map { " ('\($0.file)': \($0.reason))" } ?? ""); give one sub-folder per class, with PNG, JPEG, WebP, GIF, BMP or TIFF files"
        case .tooFewClasses(let folder, let pictures):
            pictures == 0
                ? "'\(folder)' has no sub-folders: give one per class, each with its pictures"
                : "'\(folder)' holds \(pictures) \(pictures == 1 ? "picture" : "pictures") and no sub-folders: put them into one per class, such as '\(folder)/CLASS', one folder if there is one class"
        case .emptyClasses(let classes):
            classes.map { "class '\($0.name)' has no usable picture\($0.skipped.map { " ('\($0.file)': \($0.reason))" } ?? "")" }.joined(separator: "; ")
                + ". Put pictures in or remove the folder; with --allow-empty the class stays, untrained"
        case .noSplit(let name, let folder, let known):
            known.isEmpty
                ? "'\(folder)' does not come in parts: leave --split out" : "'\(folder)' has no part '\(name)'; it has \(known.joined(separator: ", "))"
        case .noClass(let name, let folder, let known):
            "'\(folder)' has no class '\(name)'; it has \(known.prefix(20).joined(separator: ", "))\(known.count > 20 ? ", and \(known.count - 20) more" : "")"
        case .metadata(let path, let reason): "'\(path)': \(reason)"
        case .layout(let name, let folder, let missing):
            "'\(folder)' is not laid out as \(name) is published: there is no '\(missing)' in it; a folder of one sub-folder per class needs no '\(name):' before it"
        case .unprepared(let name, let folder):
            "the labels of \(name) are MATLAB files: make '\(folder)/metadata.csv' of them first, with python3 tools/prepare-data \(name) '\(folder)'"
        case .sameName(let name, let folder): "two folders of '\(folder)' give the class '\(name)', in other bytes: rename one, or put their pictures into one"
        case .notFinite(let step): "the loss is no longer a finite number at step \(step): try a smaller --learning-rate"
        case .interrupted(let step): "stopped at step \(step); go on with --resume"
        case .tokenCut(let text, let depth):
            "'\(text)' is no token cut: give none, route:SHARE or route:SHARE@[FROM,TO] with 0 <= SHARE < 1 and 0 <= FROM < TO <= \(depth)"
        case .shards(let shards, let processes): "\(shards, "shard") cannot be dealt evenly to \(processes, "process")"
        case .otherSize(let images, let network): "the images are \(images) pixels wide; the network takes \(network)"
        case .otherSet(let adapter, let set, let wanted):
            "'\(adapter)' moves another set (\(set)) than this run (\(wanted)): a run goes on from an adapter of its own method, depth and ranks"
        case .otherClasses(let classes, let base, let wanted):
            "a base is trained further on its own classes: '\(base)' has \(Self.list(wanted)), the pictures \(Self.list(classes))"
        case .processesDiffer(let step):
            "this process stands at step \(step), others elsewhere or over other data: data, base and the run's folder must be the same files for all of them"
        case .noNullRow: "the base was trained without dropping labels and has no class that stands for none: train on it with --label-dropout 0"
        case .unwritable(let path, let reason): "'\(path)' cannot be written: \(reason)"
        }
    }

    private static func list(_ names: [String]) -> String {
        names.isEmpty ? "none" : "\(names.prefix(8).joined(separator: ", "))\(names.count > 8 ? ", and \(names.count - 8) more" : "")"
    }
}
