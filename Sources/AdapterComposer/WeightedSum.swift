import TensorMath

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
            addDifference(source.values.span.extracting(part), minus: values.span.extracting(part), times: source.weight, to: &total)
        }
        var all = values.mutableSpan
        add(total.span, to: &all, at: part)
    }
}
