import AdapterFormat
import Foundation
import TensorFiles
import TensorMath

/// Why a training run cannot start or go on.
package enum TrainingError: Error, Equatable, CustomStringConvertible {
    case otherRun(file: String, what: String)
    case noFolder(String)
    case noImages(folder: String, broken: Int)
    case tooFewClasses(folder: String)
    case notFinite(step: Int)

    package var description: String {
        switch self {
        case .otherRun(let file, let what): "the checkpoint '\(file)' belongs to a run with other \(what); give the same, or start without --resume"
        case .noFolder(let path): "there is no folder '\(path)' to read images from"
        case .noImages(let folder, let broken): "'\(folder)' holds no usable PNG or JPEG image (\(broken) broken or empty); give one sub-folder per class"
        case .tooFewClasses(let folder): "'\(folder)' has no sub-folders: give one per class, each with PNG or JPEG files"
        case .notFinite(let step): "the loss is no longer a finite number at step \(step): try a smaller --learning-rate"
        }
    }
}

extension TrainingRun {
    /// What must be equal for a checkpoint to go on in this run.
    private func identity() throws -> [String: String] {
        ["settings": try sortedJSON(settings), "set": try sortedJSON(set), "data": "\(data.digest)", "start": startDigest.description]
    }

    /// Writes the whole state of the run; an interrupted run goes on from here to the same bytes.
    package func save(to path: String) throws {
        let parts = [("values", values), ("first_moments", firstMoments), ("second_moments", secondMoments), ("average", average)]
        let tensors = parts.map { OutgoingTensor($0.0, shape: [$0.1.all.count], $0.1.all.array) }
        var metadata = try identity()
        metadata["step"] = String(step)
        metadata["losses"] = losses.map { String($0) }.joined(separator: ",")
        try SafetensorsWriter.write(tensors, metadata: metadata, to: path)
    }

    /// Takes up a run that `save` wrote; refuses one with other settings, data or start.
    package func restore(from path: String) throws {
        let file = try TensorFile(path: path)
        for (key, value) in try identity() where file.metadata[key] != value {
            throw TrainingError.otherRun(file: path, what: key)
        }
        guard let step = file.metadata["step"].flatMap({ Int($0) }) else { throw TrainingError.otherRun(file: path, what: "format") }
        for (name, part) in [("values", values), ("first_moments", firstMoments), ("second_moments", secondMoments), ("average", average)] {
            let stored = try file.floats(name)
            guard stored.count == part.all.count else { throw TrainingError.otherRun(file: path, what: "shape") }
            part.all.copy(from: stored)
        }
        self.step = step
        losses = (file.metadata["losses"] ?? "").split(separator: ",").compactMap { Float($0) }
    }
}
