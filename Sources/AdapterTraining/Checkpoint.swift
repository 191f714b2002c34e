import AdapterFormat
import DiTModel
import Foundation
import TensorFiles
import TensorMath

extension TrainingRun {
    /// What must be equal, beside the settings, for a checkpoint to go on in this run: a key, what users call it, its value, and how they see it.
    private func identity() throws -> [(key: String, name: String, value: String, shown: String)] {
        [
            ("set", "--method or --gamma-depth", try sortedJSON(set), "\(set.method.rawValue), gammas of \(set.gammaDepth, "block")"),
            ("data", source.shown.name, source.identity, source.shown.value),
            ("base", "the base", "\(start.digest)", start.digest.short),
            ("from", "--from", start.earlier.map { "\($0)" } ?? "", start.earlier?.short ?? "nothing"),
            ("layout", "the trained tensors (--rank, --targets)", "\(layout.digest)", layout.digest.short),
            ("position_scale", "--position-scale", "\(model.positionScale)", "\(model.positionScale)"),
            ("preset", "the preset", "\(model.preset)", "\(model.preset)"),
        ]
    }

    /// Names each way in which the run that a checkpoint belongs to is another; the number of steps may be.
    private func differences(from metadata: [String: String]) throws -> [TrainingError.Difference] {
        let old = try metadata["settings"].map { try TrainingSettings.fields(Data($0.utf8)) } ?? [:]
        let new = try TrainingSettings.fields(Data(try sortedJSON(settings).utf8))
        var found = Set(old.keys).union(new.keys).sorted().filter { $0 != "steps" && old[$0] != new[$0] }.map {
            TrainingError.Difference(name: TrainingSettings.option(ofField: $0), old: old[$0] ?? "not set", new: new[$0] ?? "not set")
        }
        for (key, name, value, shown) in try identity() where metadata[key] != value {
            found.append(TrainingError.Difference(name: name, old: metadata[key + "_shown"] ?? "unknown", new: shown))
        }
        return found
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
        var metadata = ["settings": try sortedJSON(settings), "step": String(step)]
        for (key, _, value, shown) in try identity() { (metadata[key], metadata[key + "_shown"]) = (value, shown) }
        metadata["held_out_steps"] = history.heldOut.map { String($0.step) }.joined(separator: ",")
        try SafetensorsWriter.write(tensors, metadata: metadata, to: path)
    }

    /// Takes up a run that `save` wrote, to its own number of steps or another; refuses one with other settings, data or start.
    package func restore(from path: String) throws {
        let file = try TensorFile(path: path)
        guard let step = file.metadata["step"].flatMap({ Int($0) }) else { throw TrainingError.noCheckpoint(file: path) }
        let differences = try differences(from: file.metadata)
        guard differences.isEmpty else { throw TrainingError.otherRun(file: path, differences: differences) }
        guard step <= settings.steps else { throw TrainingError.fewerSteps(settings.steps, than: step) }
        for (name, part) in parts {
            let stored = try file.floats(name)
            guard stored.count == part.all.count else { throw TrainingError.noCheckpoint(file: path) }
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

    /// Steps done and steps wanted of the run that a checkpoint belongs to; nil where it is none.
    package static func progress(ofCheckpoint path: String) -> (step: Int, steps: Int)? {
        guard let metadata = try? TensorFile(path: path).metadata, let step = metadata["step"].flatMap({ Int($0) }) else { return nil }
        let fields = metadata["settings"].flatMap { try? TrainingSettings.fields(Data($0.utf8)) }
        return (step, fields?["steps"].flatMap { Int($0) } ?? step)
    }
}

extension TrainingSettings {
    /// Settings as text by their names in JSON, whatever version wrote them.
    fileprivate static func fields(_ json: Data) throws -> [String: String] { try JSONDecoder().decode([String: Shown].self, from: json).mapValues(\.text) }

    /// A value of any kind, as a user writes it.
    private struct Shown: Decodable {
        let text: String

        init(from decoder: any Decoder) throws {
            let value = try decoder.singleValueContainer()
            if let flag = try? value.decode(Bool.self) {
                text = flag ? "on" : "off"
            } else if let number = try? value.decode(UInt64.self) {
                text = "\(number)"
            } else {
                text = try (try? value.decode(Double.self)).map { "\($0)" } ?? value.decode(String.self)
            }
        }
    }

    /// The option of the command line that sets a field.
    fileprivate static func option(ofField name: String) -> String {
        let others = [
            "loss_weighting": "loss-weight", "flips": "flip", "accumulation": "accumulate", "balance_classes": "balance", "validation_share": "validation",
            "validation_interval": "validate-every", "patience": "early-stop",
        ]
        return "--" + (others[name] ?? name.replacing("_", with: "-"))
    }
}
