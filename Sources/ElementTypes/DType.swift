/// The element type of a tensor, in a file or in memory, by safetensors' names, which are the raw values.
public enum DType: String, Sendable, CaseIterable {
    case f64 = "F64"
    case f32 = "F32"
    case f16 = "F16"
    case bf16 = "BF16"
    case f8E4M3 = "F8_E4M3"
    case f8E5M2 = "F8_E5M2"
    case f8E4M3FNUZ = "F8_E4M3FNUZ"
    case f8E5M2FNUZ = "F8_E5M2FNUZ"
    case f8E8M0 = "F8_E8M0"
    case f6E2M3 = "F6_E2M3"
    case f6E3M2 = "F6_E3M2"
    case f4 = "F4"
    case c64 = "C64"
    case i64 = "I64"
    case i32 = "I32"
    case i16 = "I16"
    case i8 = "I8"
    case u64 = "U64"
    case u32 = "U32"
    case u16 = "U16"
    case u8 = "U8"
    case bool = "BOOL"

    /// Bits of one element.
    package var bits: Int {
        switch self {
        case .f64, .c64, .i64, .u64: 64
        case .f32, .i32, .u32: 32
        case .f16, .bf16, .i16, .u16: 16
        case .f8E4M3, .f8E5M2, .f8E4M3FNUZ, .f8E5M2FNUZ, .f8E8M0, .i8, .u8, .bool: 8
        case .f6E2M3, .f6E3M2: 6
        case .f4: 4
        }
    }

    /// Bytes of one element; 1 for the types that are packed more tightly, whose elements are not read.
    package var size: Int { max(bits / 8, 1) }

    /// Whether elements are read as numbers with a fraction; what scales or packs its elements is not.
    package var isFloatingPoint: Bool { [.f64, .f32, .f16, .bf16, .f8E4M3, .f8E5M2].contains(self) }

    /// Whether elements are read as whole numbers.
    package var isInteger: Bool { [.i64, .i32, .i16, .i8, .u64, .u32, .u16, .u8, .bool].contains(self) }
}

/// bfloat16 is the upper half of a float32.
package enum BFloat16 {
    /// The nearest bfloat16, ties to even; NaN stays NaN.
    package static func bits(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        if value.isNaN { return UInt16(bits >> 16) | 0x40 }
        return UInt16((bits &+ 0x7fff &+ ((bits >> 16) & 1)) >> 16)
    }

    package static func value(_ bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }

    /// The nearest value that bfloat16 holds.
    package static func rounded(_ value: Float) -> Float { Self.value(bits(value)) }
}

/// The eight-bit floats of the OCP format (arXiv 2209.05433).
package enum Float8 {
    /// Four bits of exponent, three of mantissa, no infinity.
    package static func e4m3(_ bits: UInt8) -> Float {
        let (exponent, mantissa) = (Int(bits >> 3 & 15), Float(bits & 7))
        let magnitude: Float
        switch (exponent, bits & 7) {
        case (15, 7): magnitude = .nan
        case (0, _): magnitude = mantissa / 512
        default: magnitude = Float(sign: .plus, exponent: exponent - 7, significand: 1 + mantissa / 8)
        }
        return bits & 0x80 == 0 ? magnitude : -magnitude
    }

    /// The upper half of a float16.
    package static func e5m2(_ bits: UInt8) -> Float { Float(Float16(bitPattern: UInt16(bits) << 8)) }
}
