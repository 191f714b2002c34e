import CKernels

/// sum += weight (x - base) in double precision; the same bits on every processor.
package func addDifference(_ x: Span<Float>, minus base: Span<Float>, times weight: Double, to sum: inout MutableSpan<Double>) {
    precondition(x.count == base.count && sum.count >= x.count, "\(x.count) values minus \(base.count), to \(sum.count)")
    unsafe sum.withUnsafeMutableBufferPointer { sum in
        unsafe x.withUnsafeBufferPointer { x in
            unsafe base.withUnsafeBufferPointer { base in
                unsafe ck_add_difference(sum.baseAddress, x.baseAddress, base.baseAddress, weight, x.count)
            }
        }
    }
}

/// y = y + sum, rounded once, for a range of y and as many sums.
package func add(_ sum: Span<Double>, to y: inout MutableSpan<Float>, at range: Range<Int>) {
    precondition(sum.count >= range.count && range.lowerBound >= 0 && range.upperBound <= y.count, "\(range) of \(y.count) values")
    unsafe y.withUnsafeMutableBufferPointer { y in
        unsafe sum.withUnsafeBufferPointer { sum in
            guard let first = y.baseAddress else { return }
            unsafe ck_add_sum(first + range.lowerBound, sum.baseAddress, range.count)
        }
    }
}
