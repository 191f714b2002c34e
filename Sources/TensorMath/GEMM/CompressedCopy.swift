import CKernels

/// A packed copy whose zeros take a bit each (`CKernelsSparse.h`): what is not zero lies in order, and a product's thread has the whole copy
/// written into its workspace before it multiplies. What layout the copy has does not matter, so the product's bytes are those of the whole.
///
/// Of a matrix half of whose values are zero it takes 9 of 16 bits at bfloat16 and 5 of 8 in bytes.
// Its pages are read-only (law 7).
struct CompressedCopy: Sendable {
    private let elementBytes: Int
    private let lines, heldBytes: Int
    private let bits, held: Matrix

    private static let lineBytes = 64

    /// - Parameters:
    ///   - copy: whole lines of 64 bytes.
    ///   - elementBytes: 2 or 1.
    /// - Returns: nil where it would take no less memory than the copy.
    init?(_ copy: Matrix, elementBytes: Int) {
        let size = copy.count * 4, count = unsafe ck_count_elements(copy.base, size / Self.lineBytes, elementBytes)
        let bitBytes = size / elementBytes / 8
        (self.elementBytes, lines, heldBytes) = (elementBytes, size / Self.lineBytes, count * elementBytes)
        guard size.isMultiple(of: Self.lineBytes), bitBytes + heldBytes + Self.lineBytes < size else { return nil }
        // A line is read from wherever the last element lies.
        let values = [bitBytes, heldBytes + Self.lineBytes].map { ($0 + 3) / 4 }
        let memory = Memory(capacity: values.reduce(0) { $0 + Memory.paddedCount($1) })
        bits = memory.take(values[0])
        held = memory.take(values[1])
        unsafe ck_hold_elements(bits.base, held.base, copy.base, lines, elementBytes)
        memory.seal()
    }

    var bytes: Int { lines * Self.lineBytes / elementBytes / 8 + heldBytes }

    /// Values that the whole copy takes.
    var count: Int { lines * Self.lineBytes / 4 }

    /// What is held, of any size: stands in for the whole copy where nothing is read.
    var placeholder: Matrix { bits }

    /// The whole copy, written over the beginning of `memory`.
    func expanded(into memory: Matrix) -> Matrix {
        let copy = memory.values(0..<count)
        let (out, bits, held) = unsafe (UnsafeMutableRawPointer(copy.base), UnsafeRawPointer(bits.base), UnsafeRawPointer(held.base))
        if elementBytes == 2 {
            unsafe ck_expand_2(
                out.assumingMemoryBound(to: UInt16.self), bits.assumingMemoryBound(to: UInt32.self), held.assumingMemoryBound(to: UInt16.self), lines)
        } else {
            unsafe ck_expand_1(
                out.assumingMemoryBound(to: UInt8.self), bits.assumingMemoryBound(to: UInt64.self), held.assumingMemoryBound(to: UInt8.self), lines)
        }
        return copy
    }
}
