import CKernels

/// Values and their weight in a sum.
package struct WeightedValues: Sendable {
    package let weight: Double
    package let values: [Float]

    package init(_ weight: Double, _ values: [Float]) { (self.weight, self.values) = (weight, values) }
}

/// values += the sum of weight (source - values) over a range, in double precision, source by source, rounded once at the end; the
/// same bits on every processor.
package func addDifferences(_ sources: [WeightedValues], to values: inout [Float], _ range: Range<Int>) {
    precondition(
        range.lowerBound >= 0 && range.upperBound <= values.count && sources.allSatisfy { range.upperBound <= $0.values.count },
        "\(range) of \(values.count) values from \(sources.map(\.values.count))")
    unsafe values.withUnsafeMutableBufferPointer { values in
        guard let first = values.baseAddress else { return }
        unsafe withAddresses(sources.map(\.values)[...], at: range.lowerBound, []) { addresses in
            unsafe ck_add_differences(first + range.lowerBound, addresses, sources.map(\.weight), sources.count, range.count)
        }
    }
}

/// Holds every array in place while the body has the addresses of their values from an offset on.
private func withAddresses(
    _ arrays: ArraySlice<[Float]>, at offset: Int, _ found: [UnsafePointer<Float>?], _ body: ([UnsafePointer<Float>?]) -> Void
) {
    guard let next = arrays.first else { return unsafe body(found) }
    unsafe next.withUnsafeBufferPointer { unsafe withAddresses(arrays.dropFirst(), at: offset, found + [$0.baseAddress.map { unsafe $0 + offset }], body) }
}
