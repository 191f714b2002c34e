import AdapterFormat

/// An adapter most of whose values are the base's: a bit per value says which are not, and only these follow.
///
///     u64 values that differ · then compressed: the bits (lowest first), and byte planes of those values and the class table, and names
enum SparseValues {
    static let prefixBytes = 8

    static func bitBytes(_ count: Int) -> Int { (count + 7) / 8 }

    /// - Returns: the bits, and the values that differ with what is predicted for them.
    static func split(_ values: [Float], _ base: [Float]) -> (bits: [UInt8], values: [Float], prediction: [Float]) {
        var bits = [UInt8](repeating: 0, count: bitBytes(values.count))
        var kept: [Float] = []
        var prediction: [Float] = []
        for (index, value) in values.enumerated() where value.bitPattern != base[index].bitPattern {
            bits[index / 8] |= 1 << (index % 8)
            kept.append(value)
            prediction.append(base[index])
        }
        return (bits, kept, prediction)
    }

    /// Which values the bits name; nil where they name another number of them.
    static func indices(_ bits: ArraySlice<UInt8>, count: Int, kept: Int) -> [Int]? {
        var indices: [Int] = []
        for (byte, value) in bits.enumerated() where value != 0 {
            for bit in 0..<8 where value >> bit & 1 == 1 { indices.append(byte * 8 + bit) }
        }
        return indices.count == kept && indices.last.map { $0 < count } ?? true ? indices : nil
    }
}
