import ArgumentParser
import TensorMath

/// `--precision` on every verb that runs the network.
struct PrecisionOption: ParsableArguments {
    @Option(help: "f32, bf16, int8, or int8-careful (the MLP's second matrix in bf16) (default: f32).") var precision: String?

    var isGiven: Bool { precision != nil }

    /// The precision asked for, or f32 with one line on standard error where this machine does not have it.
    func chosen() throws -> Precision {
        let name = precision ?? Precision.f32.rawValue
        guard let asked = Precision(rawValue: name) else {
            throw Failure.usage("--precision takes \(Precision.allCases.map(\.rawValue).joined(separator: ", ")), not '\(name)'")
        }
        return asked.orFallback()
    }
}

extension Precision {
    /// Itself, or f32 with one line on standard error where this machine does not have it.
    func orFallback() -> Precision {
        let (chosen, notice) = fallback
        if let notice { note(notice) }
        return chosen
    }
}
