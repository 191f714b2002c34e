import COneDNN

/// The arithmetic of the frozen matrices' products. All else (norms, softmax, residual stream, conditioning) is float32.
public enum Precision: String, Sendable, Codable, CaseIterable {
    /// float32: the reference.
    case f32
    /// Both factors rounded to bfloat16, summed in float32.
    case bf16
    /// Matrices in 8 bits per output channel, activations in 8 bits per token, summed in 32-bit integers.
    case int8
    /// As int8, with the second matrix of the MLP, the one that int8 hurts most, in bfloat16.
    case int8Careful = "int8-careful"

    /// The element type of the rows that enter a product.
    package func dtype(isMLPOutput: Bool) -> DType {
        switch self {
        case .f32: .f32
        case .bf16: .bf16
        case .int8: .u8
        case .int8Careful: isMLPOutput ? .bf16 : .u8
        }
    }

    /// Whether this build on this processor computes it at full speed.
    package var isSupported: Bool { self == .f32 || [false, true].allSatisfy { dtype(isMLPOutput: $0).isMultipliedPacked } }

    package static var supported: [Precision] { allCases.filter(\.isSupported) }

    /// What runs instead of a precision that is not supported, and one line that says so.
    package var fallback: (precision: Precision, notice: String?) {
        if isSupported { return (self, nil) }
        let reason =
            od_present()
            ? "this processor has no instructions for it" : "this build has no oneDNN (libdnnl-dev)"
        return (.f32, "\(rawValue) is not possible here, computing in f32: \(reason)")
    }

    /// The libraries behind it, for logs and benchmarks.
    package var libraries: String {
        WeightForm(dtype(isMLPOutput: false)) != .plain ? unsafe "\(String(cString: od_version())), \(kernelDescription)" : blasDescription
    }
}
