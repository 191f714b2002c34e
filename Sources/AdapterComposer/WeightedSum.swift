/// values = base + the sum of weight (source - base), over one range; `values` hold the base when it begins.
///
/// Summed in double precision in the order given. One source of weight 1 is copied to the last bit; without any the base stays.
func addDifferences(_ sources: [(weight: Double, values: [Float])], to values: inout [Float], _ range: Range<Int>) {
    let moving = sources.filter { $0.weight != 0 }
    if moving.count == 1, moving[0].weight == 1 {
        values.replaceSubrange(range, with: moving[0].values[range])
        return
    }
    guard !moving.isEmpty else { return }
    // The sums of one tile stay in the first cache while every source passes by once.
    let tile = 2048
    var sums = [Double](repeating: 0, count: tile)
    for start in stride(from: range.lowerBound, to: range.upperBound, by: tile) {
        let part = start..<min(start + tile, range.upperBound)
        var total = sums.mutableSpan
        for i in total.indices { total[i] = 0 }
        for source in moving {
            accumulate(source.values.span.extracting(part), minus: values.span.extracting(part), times: source.weight, into: &total)
        }
        var out = values.mutableSpan
        for i in 0..<part.count { out[start + i] = Float(Double(out[start + i]) + total[i]) }
    }
}

@inline(__always)
private func accumulate(_ values: Span<Float>, minus base: Span<Float>, times weight: Double, into total: inout MutableSpan<Double>) {
    let count = values.count
    // Known beforehand, so that the loop has no checks left.
    precondition(base.count == count && total.count >= count)
    for i in 0..<count { total[i] += weight * (Double(values[i]) - Double(base[i])) }
}
