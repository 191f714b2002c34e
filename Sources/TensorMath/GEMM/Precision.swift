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

    /// How the rows that enter a product are kept.
    package func operand(isMLPOutput: Bool) -> QuantizedMatrix.Form {
        switch self {
        case .f32: .f32
        case .bf16: .bf16
        case .int8: .u8
        case .int8Careful: isMLPOutput ? .bf16 : .u8
        }
    }

    /// Whether this build on this processor computes it at full speed.
    package var isSupported: Bool {
        switch self {
        case .f32: true
        case .bf16: od_multiplies(OD_BF16)
        case .int8: od_multiplies(OD_U8)
        case .int8Careful: od_multiplies(OD_U8) && od_multiplies(OD_BF16)
        }
    }

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
        hasPackedFloats || self != .f32 ? unsafe "\(String(cString: od_version())), \(kernelDescription)" : blasDescription
    }
}

/// Whether float32 matrices are packed too; OpenBLAS packs its own at each call.
let hasPackedFloats = od_multiplies(OD_F32)
