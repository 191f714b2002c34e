import ArgumentParser
import TensorMath

/// `--precision` on every verb that runs the network.
struct PrecisionOption: ParsableArguments {
    @Option(help: "f32, bf16, int8, or int8-careful (the MLP's second matrix in bf16).") var precision = Precision.f32.rawValue

    /// The precision asked for, or f32 with one line on standard error where this machine does not have it.
    func chosen() throws -> Precision {
        guard let asked = Precision(rawValue: precision) else {
            throw Failure.usage("--precision takes \(Precision.allCases.map(\.rawValue).joined(separator: ", ")), not '\(precision)'")
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
