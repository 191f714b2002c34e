import CKernels

/// Random numbers by position: number k of a stream is a function of (seed, stream, k) alone, from Philox 4x32-10.
///
/// So image k of a request, or sample k of a training run, draws the same numbers in any batch, on any shard, in any order.
package struct Philox: Sendable, Hashable {
    package let seed: UInt64
    package let stream: UInt64

    package init(seed: UInt64, stream: UInt64) {
        self.seed = seed
        self.stream = stream
    }

    /// Fills with standard normals number `first` and up.
    package func normals(into values: inout [Float], from first: UInt64 = 0) {
        unsafe values.withUnsafeMutableBufferPointer { unsafe ck_normals($0.baseAddress, seed, stream, first, $0.count) }
    }

    package func normals(into values: Matrix, from first: UInt64 = 0) {
        precondition(values.isContiguous)
        unsafe ck_normals(values.base, seed, stream, first, values.count)
    }

    /// Uniform number `index` in [0, 1), with 24 random bits.
    package func uniform(_ index: UInt64) -> Float {
        var value: Float = 0
        unsafe ck_uniforms(&value, seed, stream, index, 1)
        return value
    }

    /// Normal number `index`.
    package func normal(_ index: UInt64) -> Float {
        var value: Float = 0
        unsafe ck_normals(&value, seed, stream, index, 1)
        return value
    }
}
