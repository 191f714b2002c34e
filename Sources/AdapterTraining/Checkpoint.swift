import AdapterFormat
import DiTModel
import Foundation
import SystemErrors
import TensorFiles
import TensorMath

/// Why a training run cannot start or go on.
package enum TrainingError: Error, Equatable, CustomStringConvertible {
    case otherRun(file: String, what: String)
    case noFolder(String)
    case noImages(folder: String, broken: Int)
    case tooFewClasses(folder: String)
    case notFinite(step: Int)
    case tokenCut(String, depth: Int)
    case shards(Int, processes: Int)
    case fullPrecision
    case otherSize(images: Int, network: Int)
    case otherSet(adapter: String, set: String, wanted: String)
    case unwritable(String, reason: SystemError)
    case processesDiffer(step: Int)
    case noNullRow

    package var description: String {
        switch self {
        case .otherRun(let file, let what): "the checkpoint '\(file)' belongs to a run with other \(what); give the same, or start without --resume"
        case .noFolder(let path): "there is no folder '\(path)' to read images from"
        case .noImages(let folder, let broken): "'\(folder)' holds no usable PNG or JPEG image (\(broken) broken or empty); give one sub-folder per class"
        case .tooFewClasses(let folder): "'\(folder)' has no sub-folders: give one per class, each with PNG or JPEG files"
        case .notFinite(let step): "the loss is no longer a finite number at step \(step): try a smaller --learning-rate"
        case .tokenCut(let text, let depth): "'\(text)' is no token cut: give none, route:SHARE or route:SHARE@[FROM,TO] with 0 <= SHARE < 1 and 0 <= FROM < TO <= \(depth)"
        case .shards(let shards, let processes): "\(shards) shards cannot be dealt evenly to \(processes) processes"
        case .fullPrecision: "full training moves its matrices, in f32; another precision is for frozen ones"
        case .otherSize(let images, let network): "the images are \(images) pixels wide; the network takes \(network)"
        case .otherSet(let adapter, let set, let wanted): "'\(adapter)' moves another set (\(set)) than this run (\(wanted)): a run goes on from an adapter of its own method, depth and ranks"
        case .processesDiffer(let step): "this process stands at step \(step), others elsewhere or over other data: data, base and the run's folder must be the same files for all of them"
        case .noNullRow: "the base was trained without dropping labels and has no class that stands for none: train on it with --label-dropout 0"
        case .unwritable(let path, let reason): "'\(path)' cannot be written: \(reason)"
        }
    }
}

extension TrainingRun {
    /// What must be equal for a checkpoint to go on in this run.
    private func identity() throws -> [String: String] {
        ["settings": try sortedJSON(settings), "set": try sortedJSON(set), "data": "\(data.digest)", "start": "\(start.identity) \(layout.digest) \(model.positionScale) \(model.preset)"]
    }

    private var parts: [(name: String, values: TrainableValues)] {
        [("values", values), ("first_moments", firstMoments), ("second_moments", secondMoments), ("average", average)]
    }

    /// Writes the whole state of the run; an interrupted run goes on from here to the same bytes.
    package func save(to path: String) throws {
        var tensors = parts.map { OutgoingTensor($0.name, shape: [$0.values.all.count], $0.values.all.array) }
        func add(_ name: String, _ values: [Float]) { tensors.append(OutgoingTensor(name, shape: [values.count], values)) }
        add("losses", history.losses)
        add("gradient_norms", history.gradientNorms)
        add("held_out_errors", history.heldOut.map(\.error))
        if let heldOut { add("best", heldOut.best.all.array) }
        if let pruning { add("mask", pruning.mask) }
        var metadata = try identity()
        metadata["step"] = String(step)
        metadata["held_out_steps"] = history.heldOut.map { String($0.step) }.joined(separator: ",")
        try SafetensorsWriter.write(tensors, metadata: metadata, to: path)
    }

    /// Takes up a run that `save` wrote; refuses one with other settings, data or start.
    package func restore(from path: String) throws {
        let file = try TensorFile(path: path)
        for (key, value) in try identity() where file.metadata[key] != value {
            throw TrainingError.otherRun(file: path, what: key)
        }
        guard let step = file.metadata["step"].flatMap({ Int($0) }) else { throw TrainingError.otherRun(file: path, what: "format") }
        for (name, part) in parts {
            let stored = try file.floats(name)
            guard stored.count == part.all.count else { throw TrainingError.otherRun(file: path, what: "shape") }
            part.all.copy(from: stored)
        }
        self.step = step
        history.losses = try file.floats("losses")
        history.gradientNorms = try file.floats("gradient_norms")
        let steps = (file.metadata["held_out_steps"] ?? "").split(separator: ",").compactMap { Int($0) }
        history.heldOut = zip(steps, try file.floats("held_out_errors")).map { TrainingHistory.Look(step: $0, error: $1) }
        if let heldOut { heldOut.restore(history.heldOut.filter { pruning?.isDone(afterStep: $0.step) ?? true }, best: try file.floats("best")) }
        if let pruning { pruning.restore(try file.floats("mask")) }
    }
}
