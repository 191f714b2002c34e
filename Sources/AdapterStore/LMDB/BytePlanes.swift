import TensorFiles
import struct Crypto.SHA256

/// Float values as byte planes of their difference against a prediction, most significant plane first.
///
/// The bit patterns are subtracted as integers, which loses nothing, and the sign is folded into the lowest bit, so a small
/// step up or down leaves the high planes nearly empty; XOR, the other lossless difference, packs about 2 % worse. Values
/// without a prediction are predicted as 0, and against 0 the float's own sign rotates there, which keeps its exponent in
/// one byte.
enum BytePlanes {
    /// Values one after the other, each predicted as that of the base, or as 0.
    struct Part {
        let values: [Float]
        let prediction: [Float]?
    }

    /// - Parameter bits: the unsigned integer of the width: `UInt32` for float32, `UInt16` for the upper half (bfloat16).
    static func split<T: FixedWidthInteger & UnsignedInteger>(
        _ parts: [Part], _ bits: T.Type
    ) -> [UInt8] {
        let count = parts.reduce(0) { $0 + $1.values.count }
        return unsafe [UInt8](unsafeUninitializedCapacity: count * MemoryLayout<T>.size) { buffer, filled in
            var start = 0
            for part in parts {
                unsafe part.values.withUnsafeBufferPointer { values in
                    for i in 0..<values.count {
                        let predicted = part.prediction.map { pattern($0[i], rounded: true, T.self) } ?? 0
                        let difference = unsafe pattern(values[i], rounded: false, T.self) &- predicted
                        let sign = difference >> (T.bitWidth - 1)
                        let folded = difference << 1 ^ (predicted << 1 == 0 ? sign : 0 &- sign)
                        for plane in 0..<MemoryLayout<T>.size {
                            unsafe buffer[plane * count + start + i] = UInt8(truncatingIfNeeded: folded >> (T.bitWidth - 8 - 8 * plane))
                        }
                    }
                }
                start += part.values.count
            }
            filled = count * MemoryLayout<T>.size
        }
    }

    /// The values at `range` of `count` split values.
    static func join<T: FixedWidthInteger & UnsignedInteger>(
        _ planes: [UInt8], count: Int, range: Range<Int>, prediction: [Float]?, _ bits: T.Type
    ) -> [Float] {
        precondition(planes.count >= count * MemoryLayout<T>.size && range.upperBound <= count)
        precondition(prediction.map { $0.count == range.count } ?? true)
        return unsafe [Float](unsafeUninitializedCapacity: range.count) { buffer, filled in
            unsafe planes.withUnsafeBufferPointer { planes in
                let first = unsafe planes.baseAddress! + range.lowerBound
                if let prediction {
                    unsafe prediction.withUnsafeBufferPointer { prediction in
                        for i in 0..<range.count {
                            let predicted = unsafe pattern(prediction[i], rounded: true, T.self)
                            unsafe buffer[i] = value(predicted &+ difference(first + i, count, predicted))
                        }
                    }
                } else {
                    for i in 0..<range.count { unsafe buffer[i] = value(difference(first + i, count, 0 as T)) }
                }
            }
            filled = range.count
        }
    }

    @inline(__always)
    private static func difference<T: FixedWidthInteger & UnsignedInteger>(
        _ first: UnsafePointer<UInt8>, _ stride: Int, _ predicted: T
    ) -> T {
        var folded: T = 0
        for plane in 0..<MemoryLayout<T>.size { folded = unsafe folded << 8 | T(truncatingIfNeeded: first[plane * stride]) }
        let sign = folded & 1
        return folded >> 1 ^ (predicted << 1 == 0 ? sign << (T.bitWidth - 1) : 0 &- sign)
    }

    @inline(__always)
    private static func pattern<T: FixedWidthInteger & UnsignedInteger>(_ value: Float, rounded: Bool, _ bits: T.Type) -> T {
        if T.bitWidth == 32 { return T(truncatingIfNeeded: value.bitPattern) }
        return T(truncatingIfNeeded: (rounded ? BFloat16.rounded(value) : value).bitPattern >> 16)
    }

    @inline(__always)
    private static func value<T: FixedWidthInteger & UnsignedInteger>(_ pattern: T) -> Float {
        Float(bitPattern: UInt32(truncatingIfNeeded: pattern) << (32 - T.bitWidth))
    }
}

extension SHA256 {
    mutating func update(values: [Float]) {
        unsafe values.withUnsafeBytes { unsafe update(bufferPointer: $0) }
    }
}
