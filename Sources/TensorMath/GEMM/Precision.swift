import CKernels
import COneDNN
import COpenBLAS

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

    /// bf16 where this processor multiplies it: half the seconds, 57 dB from f32 on the shipped base; else f32.
    public static var auto: Precision { bf16.isSupported ? .bf16 : .f32 }

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

    /// What multiplies in a sampled network, and what does the rest: libraries, their kernels and ours, for logs, replies and benchmarks.
    package var libraries: String { libraries(.native) }

    /// - Parameter matrixTiles: what the network was packed for; nil in training.
    package func libraries(_ matrixTiles: MatrixTiles?) -> String {
        let dtype = dtype(isMLPOutput: false)
        let products =
            if let matrixTiles, matrixTiles.multiplies(dtype) {
                matrixTiles.description
            } else if WeightForm(dtype) != .plain {
                unsafe "\(String(cString: od_version())) with \(String(cString: od_kernels()))"
            } else {
                blasDescription
            }
        return "\(products); \(kernelDescription)"
    }
}

/// One sentence where lesser kernels run than this processor has, as a setting, a processor that is younger than a library, or the system can
/// have it; nil where all is as it should be.
package var kernelWarning: String? {
    unsafe lesserKernels(
        on: ck_best_level(), core: String(cString: ob_corename()), oneDNN: od_present() ? String(cString: od_kernels()) : nil, tiles: ck_tiles())
}

/// - Parameters:
///   - core: that OpenBLAS runs the kernels of; empty where it is not there.
///   - oneDNN: what its kernels use; nil where it is not there.
///   - tiles: whether the processor has AMX tiles, and the system grants them.
package func lesserKernels(on processor: ck_level, core: String, oneDNN: String?, tiles: ck_tile_access = CK_TILES_ABSENT) -> String? {
    let wide = ["SkylakeX", "Cooperlake", "SapphireRapids"]
    let fitting: (cores: [String], isFull: (String) -> Bool, name: String) =
        switch processor {
        case CK_AVX512_BF16: (wide, { $0.contains("bfloat16") || $0.contains("AMX") }, "AVX-512 with bfloat16")
        case CK_AVX512: (wide, { $0.contains("AVX-512") || $0.contains("AMX") }, "AVX-512")
        case CK_AVX2: (["Haswell", "Zen"] + wide, { $0 != "SSE4.1" }, "AVX2")
        default: ([core], { _ in true }, "")
        }
    if !core.isEmpty, !fitting.cores.contains(core) {
        return "OpenBLAS runs its kernels for \(core) on a processor with \(fitting.name): unset OPENBLAS_CORETYPE, or install another OpenBLAS"
    }
    if let oneDNN, !fitting.isFull(oneDNN) {
        return "oneDNN uses \(oneDNN) on a processor with \(fitting.name): unset DNNL_MAX_CPU_ISA and ONEDNN_MAX_CPU_ISA, or install another oneDNN"
    }
    if tiles == CK_TILES_REFUSED {
        return "the system keeps the processor's AMX tiles from this process: bf16 and int8 want Linux 5.16 or newer, and a sandbox that allows arch_prctl"
    }
    return nil
}

/// What options say of a precision.
package enum PrecisionChoice: String, Sendable, CaseIterable {
    case auto
    case f32, bf16, int8
    case int8Careful = "int8-careful"

    package var precision: Precision {
        switch self {
        case .auto: .auto
        case .f32: .f32
        case .bf16: .bf16
        case .int8: .int8
        case .int8Careful: .int8Careful
        }
    }
}
